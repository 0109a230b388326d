-- Counts one request in a window that begins with its first.
-- KEYS[1] counter; ARGV[1] milliseconds of the window. Returns {count, milliseconds left}.
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  left = tonumber(ARGV[1])
  redis.call('PEXPIRE', KEYS[1], left)
end
return {count, left}
