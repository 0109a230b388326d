-- KEYS[1] who is in a room: id -> the gateway generations that hold a socket of it, separated by spaces.
-- ARGV: id, generation, channel, message, '1' to tell of the first one.
-- Returns 1 where no generation held the person before.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  for generation in string.gmatch(held, '%S+') do
    if generation == ARGV[2] then return 0 end
  end
  redis.call('HSET', KEYS[1], ARGV[1], held .. ' ' .. ARGV[2])
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[5] == '1' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return 1
