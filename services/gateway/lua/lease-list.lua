-- KEYS[1] leases, as in lease-take.lua. Returns {generations that live, generations that have ended}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live, dead = {}, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= 'epoch' then
    local list = tonumber(all[i + 1]) >= now and live or dead
    list[#list + 1] = all[i]
  end
end
return { live, dead }
