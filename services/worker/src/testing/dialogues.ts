/**
 * A conversation of ten messages, and the facts in it that a summary should still have when ten more rounds have gone
 * by.
 */
export interface Dialogue {
  name: string
  lines: [author: string, text: string][]
  facts: string[]
}

/** Written for the project; names and numbers are invented. */
export const DIALOGUES: Dialogue[] = [
  {
    name: 'a move of house',
    lines: [
      ['nora', 'Hi! We are finally moving, I need help planning it.'],
      ['agent', 'Congratulations! When is the big day?'],
      ['nora', 'We get the keys on 14 May 2027, and the old flat must be empty by the 31st.'],
      ['agent', 'That leaves about two weeks. Where are you moving to?'],
      ['nora', 'The new address is 27 Lindenweg in Freiburg, third floor without a lift.'],
      ['agent', 'Noted. Do you have a budget for movers?'],
      ['nora', 'At most 1,800 euros, everything included.'],
      ['agent', 'Any item that needs special care?'],
      ['nora', "My grandmother's piano, it weighs 230 kg."],
      ['agent', 'Then I suggest movers with piano experience.'],
    ],
    facts: ['14 May 2027', '27 Lindenweg', '1,800', '230 kg'],
  },
  {
    name: 'support for a router',
    lines: [
      ['tom', 'My internet has been dropping every evening this week.'],
      ['agent', 'Sorry to hear that. Which router do you use?'],
      ['tom', 'A Netbox 4400 with firmware 7.12.3.'],
      ['agent', 'Thanks. May I have your customer number?'],
      ['tom', 'It is KD-558201.'],
      ['agent', 'I can see errors on the line since Tuesday at 19:40.'],
      ['tom', 'Yes, that is when it started. I work from home, so this really hurts.'],
      ['agent', 'I opened ticket INC-90417 for you. A technician can come on Friday.'],
      ['tom', 'Friday between 8 and 10 works. Please call 0761 5550143 before.'],
      ['agent', 'Confirmed: Friday between 8 and 10, and we call first.'],
    ],
    facts: ['KD-558201', '7.12.3', 'INC-90417', '0761 5550143', 'Friday between 8 and 10'],
  },
  {
    name: 'choosing a database',
    lines: [
      ['ada', 'Let us settle the storage question today.'],
      ['bo', 'I still like Postgres, but the document model fits us better.'],
      ['ada', 'We expect 40 million documents by the end of the year.'],
      ['bo', 'Then sharding must be possible without downtime.'],
      ['ada', 'The customer in Zurich requires that data never leaves Switzerland.'],
      ['bo', 'Both options can do that.'],
      ['ada', 'Cost is capped at $2,300 a month.'],
      ['bo', 'OK, we decided on MongoDB with three members in Zurich.'],
      ['ada', 'Agreed. Priya is responsible for the migration.'],
      ['bo', 'And the first rehearsal is on 9 June.'],
    ],
    facts: [
      '40 million',
      'never leaves Switzerland',
      '$2,300',
      'MongoDB with three members',
      'Priya',
      '9 June',
    ],
  },
  {
    name: 'a birthday dinner',
    lines: [
      ['lea', 'I want to book a table for my father, he turns 70.'],
      ['agent', 'How lovely. For how many people?'],
      ['lea', 'Twelve people, two of them children.'],
      ['agent', 'Any allergies or wishes?'],
      ['lea', 'My brother Jonas is allergic to peanuts, and two guests are vegan.'],
      ['agent', 'Understood. Which evening?'],
      ['lea', 'Saturday 22 August at 18:30, on the terrace if possible.'],
      ['agent', 'The terrace is free. A deposit of 120 euros is due a week before.'],
      ['lea', 'Fine. The booking goes under the name Castellano.'],
      ['agent', 'Booked. Your reference is TB-7731.'],
    ],
    facts: ['allergic to peanuts', '22 August', '18:30', 'Castellano', 'TB-7731'],
  },
  {
    name: 'a trip to Japan',
    lines: [
      ['max', 'We are planning two weeks in Japan next spring.'],
      ['agent', 'Wonderful! Which places do you have in mind?'],
      ['max', 'Tokyo, Kanazawa and Naoshima, not more.'],
      ['agent', 'Good choice. When do you fly?'],
      ['max', 'Flight LH716 leaves Munich on 28 March at 12:05.'],
      ['agent', 'And how much do you want to spend per night?'],
      ['max', 'Hotels up to 150 euros a night.'],
      ['agent', 'Do you need anything in particular?'],
      ['max', 'Ines uses a wheelchair, so every hotel must have a lift.'],
      ['agent', 'I will only look for accessible rooms.'],
    ],
    facts: ['Kanazawa', 'LH716', '28 March', '150 euros', 'wheelchair'],
  },
  {
    name: 'an incident at night',
    lines: [
      ['ops', 'Alert: checkout latency above 4 seconds since 02:17 UTC.'],
      ['kim', 'Looking. Error rate in eu-west-1 is 12%.'],
      ['ops', 'Deployment v2.48.1 went out at 02:05 UTC.'],
      ['kim', 'That fits. It changed the connection pool to 5.'],
      ['ops', 'Who can approve a rollback?'],
      ['kim', 'Farid approved it by phone.'],
      ['ops', 'Rolling back to v2.47.9 now.'],
      ['kim', 'Latency is down to 300 ms, errors below 0.1%.'],
      ['ops', 'Confirmed. We agreed to keep the rollback until Thursday.'],
      ['kim', 'The review is on 3 February at 10:00, Farid owns it.'],
    ],
    facts: ['02:17 UTC', 'v2.48.1', 'v2.47.9', 'Farid approved', 'until Thursday', '3 February'],
  },
  {
    name: 'a thesis',
    lines: [
      ['mia', 'Can you help me to structure my thesis?'],
      ['agent', 'Of course. What is it about?'],
      ['mia', 'How swifts navigate over the Sahara; I tagged 43 birds.'],
      ['agent', 'Impressive. Who supervises it?'],
      ['mia', 'Professor Okonkwo at the University of Basel.'],
      ['agent', 'What are the formal limits?'],
      ['mia', 'No more than 80 pages, and the deadline is 30 September.'],
      ['agent', 'Which citation style?'],
      ['mia', 'APA 7. And everything must be written in British English.'],
      ['agent', 'Then I propose five chapters.'],
    ],
    facts: ['43 birds', 'Okonkwo', '80 pages', '30 September', 'British English'],
  },
  {
    name: 'a small online shop',
    lines: [
      ['sara', 'My order arrived damaged.'],
      ['agent', 'I am sorry. What is the order number?'],
      ['sara', 'Order 2027-118846, a blue ceramic teapot.'],
      ['agent', 'Thank you. Would you like a refund or a replacement?'],
      ['sara', 'A replacement please, but in green.'],
      ['agent', 'Green is available. It costs $6.50 more.'],
      ['sara', 'That is ok, charge it to my Visa ending in 4821.'],
      ['agent', 'Done. It ships on Monday 11 October with tracking code ZX81-55-K.'],
      ['sara', 'Please never leave it at the door, the neighbour at number 9 takes it.'],
      ['agent', 'I have added that for the carrier.'],
    ],
    facts: ['2027-118846', '$6.50', '4821', 'ZX81-55-K', 'never leave it at the door'],
  },
  {
    name: 'a training plan',
    lines: [
      ['joe', 'I would like to run a marathon.'],
      ['agent', 'Great goal. Which one and when?'],
      ['joe', 'The Hamburg marathon on 25 April 2027.'],
      ['agent', 'How much do you run at the moment?'],
      ['joe', 'About 25 km a week, my best 10k is 52:30.'],
      ['agent', 'Any injuries?'],
      ['joe', 'My left knee; Dr. Hansen says never more than four runs a week.'],
      ['agent', 'Then three runs and one session on the bike.'],
      ['joe', 'Good. I cannot train on Wednesdays.'],
      ['agent', 'Agreed: long runs on Sundays, rest on Wednesdays.'],
    ],
    facts: ['25 April 2027', '52:30', 'Dr. Hansen', 'Wednesdays', 'long runs on Sundays'],
  },
  {
    name: 'Umzug einer Praxis, auf Deutsch',
    lines: [
      ['Uta', 'Guten Tag, wir brauchen eine neue Telefonanlage.'],
      ['agent', 'Gern. Für wie viele Plätze?'],
      ['Uta', 'Für 14 Plätze an zwei Standorten.'],
      ['agent', 'Bis wann muss sie laufen?'],
      ['Uta', 'Spätestens am 3. März 2027, das ist wichtig.'],
      ['agent', 'Und das Budget?'],
      ['Uta', 'Höchstens 9.500 Euro einmalig.'],
      ['agent', 'Wer entscheidet bei Ihnen?'],
      ['Uta', 'Frau Dr. Brandstetter entscheidet, Telefon 089 5550199.'],
      ['agent', 'Wir haben vereinbart: Angebot bis Freitag.'],
    ],
    facts: ['14 Plätze', '3. März 2027', '9.500 Euro', 'Brandstetter', 'Angebot bis Freitag'],
  },
  {
    name: '项目会议',
    lines: [
      ['李雷', '大家好，我们开始吧。'],
      ['韩梅', '好的，先说时间。'],
      ['李雷', '我们决定在3月18日发布第一个版本。'],
      ['韩梅', '预算是多少？'],
      ['李雷', '预算不能超过45000元。'],
      ['韩梅', '谁来负责测试？'],
      ['李雷', '王芳负责测试，她的电话是13800138000。'],
      ['韩梅', '服务器放在哪里？'],
      ['李雷', '同意放在上海的2号机房。'],
      ['韩梅', '明白了。'],
    ],
    facts: ['3月18日', '45000', '13800138000', '2号机房'],
  },
  {
    name: 'đặt tour, tiếng Việt',
    lines: [
      ['Lan', 'Xin chào, tôi muốn đặt tour đi Sa Pa.'],
      ['agent', 'Chào chị, chị đi mấy người ạ?'],
      ['Lan', 'Gia đình tôi có 5 người, gồm 2 trẻ em.'],
      ['agent', 'Chị muốn đi ngày nào?'],
      ['Lan', 'Chúng tôi đi ngày 12/10/2027 và về ngày 16/10/2027.'],
      ['agent', 'Ngân sách của chị là bao nhiêu?'],
      ['Lan', 'Không được quá 15.000.000 đồng.'],
      ['agent', 'Chị có yêu cầu gì đặc biệt không?'],
      ['Lan', 'Mẹ tôi ăn chay, phải có phòng tầng trệt.'],
      ['agent', 'Vâng, mã đặt chỗ là SP-2218.'],
    ],
    facts: ['5 người', '12/10/2027', '15.000.000', 'tầng trệt', 'SP-2218'],
  },
]

const CHATTER = [
  'Sounds good to me.',
  'Thanks, that helps a lot!',
  'What do you think about it?',
  'Let me think it over for a moment.',
  'I had a look at it yesterday evening and it seems fine so far.',
  'Could you explain that once more?',
  'Sure, it mostly depends on how much time we have.',
  'By the way, the weather in Lisbon was lovely last weekend.',
  'Haha, yes.',
  'I read about this somewhere, but I can not remember where.',
  'We could also come back to this on Monday.',
  'There were about 20 people in the room and nobody noticed.',
  'It is a bit more complicated than I thought at first.',
  'Okay, then I will prepare the next step.',
  'No problem, take your time.',
  'My coffee machine broke this morning, so forgive my mood.',
  'Is there anything else that you would like to know?',
  'Not right now, I think.',
  'I will write again when I know more.',
  'Great, talk to you later!',
]

/** Talk that says little, some of it with a name or number to compete with the facts; the same for the same seed. */
export function chatter(count: number, seed: number): string[] {
  let state = seed >>> 0
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return CHATTER[state % CHATTER.length] ?? ''
  })
}
