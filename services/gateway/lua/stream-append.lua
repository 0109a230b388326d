-- KEYS[1] text of a streamed answer, as in stream-claim.lua. ARGV: token, offset, text, channel, message.
-- Stored and told in one step, and by the owner alone.
-- Returns 1 where it was, 0 where somebody else owns the stream, 2 where it has ended, 3 where it is held
-- (stream-hold.lua), -1 where Redis lost the text.
local at = redis.call('HMGET', KEYS[1], 'owner', 'held')
if not at[1] then return -1 end
if at[1] == '' then return 2 end
if at[1] ~= ARGV[1] then return 0 end
if at[2] then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 < tonumber(at[2]) then return 3 end
  redis.call('HDEL', KEYS[1], 'held')
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
