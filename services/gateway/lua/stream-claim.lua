-- KEYS[1] text of a streamed answer: `owner`, empty once it has ended; `held`, until when nothing may be added, in
-- milliseconds since 1970; and offset in UTF-16 units -> the text that begins there.
-- ARGV: the new owner's token, milliseconds to keep the text. Returns all fields and values.
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGETALL', KEYS[1])
