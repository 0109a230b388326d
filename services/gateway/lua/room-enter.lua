-- KEYS: for each entry, who is in its room: id -> the gateway generations that hold a socket of it, separated by
-- spaces. ARGV, for each: id, generation, channel, message, '1' to tell where no generation held the person before.
-- Returns for each 1, or the error that kept this one out; the others are in.
local function enter(i)
  local id, generation, channel, message, tell = unpack(ARGV, 5 * i - 4, 5 * i)
  local held = redis.call('HGET', KEYS[i], id)
  if not held then
    redis.call('HSET', KEYS[i], id, generation)
    if tell == '1' then redis.call('PUBLISH', channel, message) end
  elseif not string.find(' ' .. held .. ' ', ' ' .. generation .. ' ', 1, true) then
    redis.call('HSET', KEYS[i], id, held .. ' ' .. generation)
  end
  return 1
end
local answers = {}
for i = 1, #KEYS do
  local ok, answer = pcall(enter, i)
  answers[i] = ok and answer or redis.error_reply(answer.err or answer)
end
return answers
