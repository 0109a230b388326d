/**
 * Words that mark a sentence as worth keeping. English in the main; a few of the commonest elsewhere, so that other
 * languages degrade to something useful. Without `\b` where a script has no spaces.
 */
const anyOf = (latin: string, other: string) =>
  new RegExp(`(?<![\\p{L}\\p{N}])(?:${latin})(?![\\p{L}\\p{N}])|${other}`, 'iu')

/** Something was settled. */
export const DECISION = anyOf(
  "agreed?|decided?|decision|we(?:'ll| will) (?:go|use|take|ship|meet|do|start)|let's (?:go|use|take|meet|do)|settled on|approved|confirmed|signed off|finali[sz]ed|chose|picked|going with" +
    '|beschlossen|entschieden|vereinbart|einigen uns|bestätigt|décidé|convenu|validé|confirmé|decidido|acordado|confirmado|quyết định|đồng ý|xác nhận|chốt',
  '决定|同意|确认|決定|同意|確認|합의|결정',
)

/** Something that must be respected: limits, wishes, dates, who and how. */
export const CONSTRAINT = anyOf(
  "must(?:n't| not)?|never|always|can(?:'t|not)|allerg\\w+|prefer\\w*|deadline|due|budget|limit\\w*|require\\w*|important|remember|need(?:s|ed)? to be|no more than|at (?:most|least)|only|password|account|order|ticket|invoice|address|phone|birthday|lives? in|works? (?:at|for|as)|my name is|i am|i'm|call me|responsible|owner|version|called|located|moved to|starts?|ends?|opens?|closes?" +
    '|muss|müssen|niemals|frist|bis spätestens|wichtig|bitte nicht|heiße|wohne|adresse|doit|jamais|toujours|important|délai|debe|nunca|siempre|plazo|importante|phải|không được|quan trọng|hạn|tên tôi là|địa chỉ',
  '必须|不能|不要|重要|截止|预算|地址|名字|電話|电话|예산|마감|중요',
)

/** Text addressed to the summariser instead of the other people. A message with it is not quoted. */
export const INSTRUCTION = anyOf(
  '(?:ignore|disregard|forget|override|bypass)[^.!?\\n]{0,60}(?:instruct\\w*|prompts?|rules?|guidelines?|above|previous|prior|earlier)' +
    '|(?:system|developer) (?:prompt|message)|you are now|new instructions?|(?:in|into|to) your summary|(?:the|your) summary (?:must|should|shall|has to|needs to|will)|when (?:you )?summari[sz]\\w+|summari[sz]er' +
    '|ignorier\\w*[^.!?\\n]{0,60}(?:anweisung\\w*|regeln)|ignorez[^.!?\\n]{0,60}instructions',
  '忽略[^。！？\\n]{0,30}(?:指令|指示|提示)|<\\|[a-z_]+\\|>',
)

/** Greetings, thanks and the like. */
export const SMALL_TALK = anyOf(
  "hi|hello|hey|thanks|thank you|cheers|great|ok|okay|sure|sounds good|no problem|you're welcome|good (?:morning|afternoon|evening|night)|bye|see you|haha|lol|nice|awesome|perfect" +
    '|hallo|danke|merci|bonjour|gracias|hola|cảm ơn|xin chào',
  '你好|谢谢|谢啦',
)

/** A code, an order number, a version, a file: letters and digits in one word, or digits with separators. */
export const IDENTIFIER =
  /(?<![\p{L}\p{N}])(?=[\p{L}\d./_-]*\d)(?=[\p{L}\d./_-]*\p{L})[\p{L}\d][\p{L}\d./_-]{2,}|\d+[./:-]\d[\d./:-]*/u

/** An address on the net, or of a mailbox. */
export const ADDRESS = /https?:\/\/\S+|[^\s@]+@[^\s@]+\.[^\s@]+/u
