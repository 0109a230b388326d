-- KEYS: for each person, their sockets, and when they were last seen to come or go. ARGV: channel, what begins a
-- message of this kind, milliseconds since 1970, milliseconds for which that is remembered; then for each person:
-- member, message, '1' to note and tell of the first one.
-- Adding the first one, noting it and telling of it are one step: whoever is online has a time of coming. Members of a
-- dead gateway count until they are reaped. What is to be told goes out as one list.
-- Returns for each person 1, or the error that kept this one from being added; the others are.
local told = {}
local function add(i)
  local sockets, seen = KEYS[2 * i - 1], KEYS[2 * i]
  local member, message, tell = ARGV[3 * i + 2], ARGV[3 * i + 3], ARGV[3 * i + 4]
  local isFirst = redis.call('SADD', sockets, member) == 1 and redis.call('SCARD', sockets) == 1
  if isFirst and tell == '1' then
    redis.call('SET', seen, ARGV[3], 'PX', ARGV[4])
    told[#told + 1] = message
  end
  return 1
end
local answers = {}
for i = 1, #KEYS / 2 do
  local ok, answer = pcall(add, i)
  answers[i] = ok and answer or redis.error_reply(answer.err or answer)
end
if #told > 0 then redis.call('PUBLISH', ARGV[1], ARGV[2] .. '[' .. table.concat(told, ',') .. ']') end
return answers
