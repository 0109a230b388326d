-- KEYS[1] leases: generation -> milliseconds since 1970 at which it ends; `epoch` -> this life of the data.
-- ARGV: generation, milliseconds, an epoch for data that has none. Returns the epoch.
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2])
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[3])
return redis.call('HGET', KEYS[1], 'epoch')
