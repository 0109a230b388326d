-- Removes the lease, or with a time makes it longer, if it is still ours.
-- KEYS: lease. ARGV: token, milliseconds or 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  return redis.call('DEL', KEYS[1])
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
