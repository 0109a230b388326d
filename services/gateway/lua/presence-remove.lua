-- KEYS: sockets of a person, when they were last seen to come or go. ARGV: member, channel, message, milliseconds since
-- 1970, milliseconds for which that is remembered, '1' to tell of an empty set even where a Redis that lost its data no
-- longer had the member.
-- Removing the last one, noting it and telling of it are one step, so that exactly one remover tells.
-- Returns {1 where it was told, members that remain if they are few, 1 where the member was there}.
local removed = redis.call('SREM', KEYS[1], ARGV[1])
local left = redis.call('SCARD', KEYS[1])
if left == 0 and (removed == 1 or ARGV[6] == '1') then
  redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
  redis.call('PUBLISH', ARGV[2], ARGV[3])
  return { 1, {}, removed }
end
if left > 8 then return { 0, {}, removed } end
return { 0, redis.call('SMEMBERS', KEYS[1]), removed }
