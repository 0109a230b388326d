-- KEYS[1] text of a streamed answer, as in stream-claim.lua. ARGV: token, milliseconds to keep the text, whole text.
-- Writes again what Redis lost, or what the owner knows more of; nobody has held what isn't there.
-- Returns 1, 0 where somebody else owns the stream, 2 where it has ended, 3 where it is held (stream-hold.lua).
local at = redis.call('HMGET', KEYS[1], 'owner', 'held')
if at[1] == '' then return 2 end
if at[1] and at[1] ~= ARGV[1] then return 0 end
if at[2] then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 < tonumber(at[2]) then return 3 end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], '0', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
