-- KEYS[1] text of a streamed answer, as in stream-claim.lua. ARGV: token, milliseconds to keep the text, whole text.
-- Writes again what Redis lost, or what the owner knows more of.
-- Returns 1, or 0 where somebody else owns the stream.
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], '0', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
