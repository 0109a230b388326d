-- KEYS: sockets of a person, when they were last seen to come or go. ARGV: member, channel, message, milliseconds since
-- 1970, milliseconds for which that is remembered, '1' to note and tell of the first one. Adding the first one, noting
-- it and telling of it are one step: whoever is online has a time of coming. Returns 1 where the set was empty before;
-- members of a dead gateway count until they are reaped.
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('SCARD', KEYS[1]) > 1 then return 0 end
if ARGV[6] == '1' then
  redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
