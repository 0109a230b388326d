-- KEYS[1] text of a streamed answer, as in stream-claim.lua. ARGV: milliseconds to keep what is left.
-- Nobody owns it from now on: what a late owner still has to say is refused. Returns 1.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', '')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
