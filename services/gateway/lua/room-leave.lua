-- KEYS: for each entry, who is in its room, as in room-enter.lua. ARGV, for each: id, generation, channel, message, '1'
-- to tell even where a Redis that lost its data no longer had the entry.
-- Returns for each {1 where the person's last one left and it was told, generations that remain, 1 where this one was
-- there}, or the error that kept this one in; the others are out.
local function leave(i)
  local id, generation, channel, message, always = unpack(ARGV, 5 * i - 4, 5 * i)
  local rest, found, told = {}, 0, 0
  for one in string.gmatch(redis.call('HGET', KEYS[i], id) or '', '%S+') do
    if one == generation then found = 1 else rest[#rest + 1] = one end
  end
  if found == 1 and #rest > 0 then redis.call('HSET', KEYS[i], id, table.concat(rest, ' ')) end
  if found == 1 and #rest == 0 then redis.call('HDEL', KEYS[i], id) end
  if #rest == 0 and (found == 1 or always == '1') then
    redis.call('PUBLISH', channel, message)
    told = 1
  end
  return { told, rest, found }
end
local answers = {}
for i = 1, #KEYS do
  local ok, answer = pcall(leave, i)
  answers[i] = ok and answer or redis.error_reply(answer.err or answer)
end
return answers
