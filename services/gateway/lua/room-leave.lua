-- KEYS[1] who is in a room: id -> the gateway generations that hold a socket of it, separated by spaces.
-- ARGV: id, generation, channel, message, '1' to tell even where a Redis that lost its data no longer had the entry.
-- Returns {1 where the person's last one left and it was told, generations that remain, 1 where this one was there}.
local held = redis.call('HGET', KEYS[1], ARGV[1])
local rest, found = {}, 0
if held then
  for generation in string.gmatch(held, '%S+') do
    if generation == ARGV[2] then found = 1 else rest[#rest + 1] = generation end
  end
end
if #rest > 0 then
  if found == 1 then redis.call('HSET', KEYS[1], ARGV[1], table.concat(rest, ' ')) end
  return { 0, rest, found }
end
if found == 1 then redis.call('HDEL', KEYS[1], ARGV[1]) end
if found == 1 or ARGV[5] == '1' then
  redis.call('PUBLISH', ARGV[3], ARGV[4])
  return { 1, rest, found }
end
return { 0, rest, found }
