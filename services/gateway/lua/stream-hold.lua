-- KEYS[1] text of a streamed answer, as in stream-claim.lua. ARGV: milliseconds.
-- For so long its owner can add nothing: somebody else is about to end it with the text as it is now.
-- Returns all fields and values; none where nobody owns it.
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner or owner == '' then return {} end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'held', math.floor(now[1] * 1000 + now[2] / 1000) + ARGV[1])
return redis.call('HGETALL', KEYS[1])
