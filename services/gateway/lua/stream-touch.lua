-- KEYS[1] text of a streamed answer, as in stream-claim.lua. ARGV: token, milliseconds to keep the text.
-- Returns 1 where the token still owns it, 0 where another does, 2 where it has ended, -1 where Redis lost the text.
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner then return -1 end
if owner == '' then return 2 end
if owner ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
