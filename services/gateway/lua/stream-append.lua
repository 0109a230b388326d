-- KEYS[1] text of a streamed answer, as in stream-claim.lua. ARGV: token, offset, text, channel, message.
-- Stored and told in one step, and by the owner alone.
-- Returns 1 where it was, 0 where somebody else owns the stream, -1 where Redis lost the text.
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner then return -1 end
if owner ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
