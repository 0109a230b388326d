-- KEYS: for each person, their sockets, and when they were last seen to come or go. ARGV: channel, what begins a
-- message of this kind, milliseconds since 1970, milliseconds for which that is remembered; then for each person:
-- member, message, '1' to tell of an empty set even where a Redis that lost its data no longer had the member.
-- Removing the last one, noting it and telling of it are one step, so that exactly one remover tells.
-- Returns for each person {1 where it is told, members that remain if they are few, 1 where the member was there}, or
-- the error that kept this one from being removed; the others are.
local told = {}
local function remove(i)
  local sockets, seen = KEYS[2 * i - 1], KEYS[2 * i]
  local member, message, always = ARGV[3 * i + 2], ARGV[3 * i + 3], ARGV[3 * i + 4]
  local removed = redis.call('SREM', sockets, member)
  local left = redis.call('SCARD', sockets)
  if left == 0 and (removed == 1 or always == '1') then
    redis.call('SET', seen, ARGV[3], 'PX', ARGV[4])
    told[#told + 1] = message
    return { 1, {}, removed }
  end
  if left > 8 then return { 0, {}, removed } end
  return { 0, redis.call('SMEMBERS', sockets), removed }
end
local answers = {}
for i = 1, #KEYS / 2 do
  local ok, answer = pcall(remove, i)
  answers[i] = ok and answer or redis.error_reply(answer.err or answer)
end
if #told > 0 then redis.call('PUBLISH', ARGV[1], ARGV[2] .. '[' .. table.concat(told, ',') .. ']') end
return answers
