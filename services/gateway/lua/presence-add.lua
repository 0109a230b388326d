-- KEYS[1] sockets of a person. ARGV: member, channel, message, '1' to tell of the first one.
-- Returns 1 where this was the first live socket.
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('SCARD', KEYS[1]) > 1 then return 0 end
if ARGV[4] == '1' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1
