-- KEYS[1] leases, as in lease-take.lua. ARGV: generation, milliseconds.
-- Returns {epoch, milliseconds that were left of it}, or nil where there is no lease any more or it has ended.
local ends = redis.call('HGET', KEYS[1], ARGV[1])
if not ends then return nil end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(ends) < now then return nil end
redis.call('HSET', KEYS[1], ARGV[1], now + ARGV[2])
return { redis.call('HGET', KEYS[1], 'epoch'), ends - now }
