-- inspect: read what this node knows about a name. Changes nothing.
--
-- KEYS  1 lock  2 fence  3 holder  4 waiters  5 readers  6 records
-- ARGV  1 most readers to tell of
-- Reply {'ok', fence, digest of the holder ('': no writer), remaining ms (-1: no ttl; 0 if free),
--        its record ('': none), live waiters, readers, {digest, remaining ms, record of the reader who holds
--        for longest, of the next, ...}}
-- Errors WRONGTYPE

local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
local fence = tonumber(redis.call('GET', KEYS[2]) or 0) or 0
local digest, remaining, record = '', 0, ''
if owner then
  digest = redis.sha1hex(owner)
  remaining = redis.call('PTTL', KEYS[1])
  local known = redis.pcall('GET', KEYS[3])
  if type(known) == 'string' and string.sub(known, 1, 41) == digest .. ';' then
    record = string.sub(known, 42)
  end
end
local now = millis()
local waiting = 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  if not dead(member, now) then
    waiting = waiting + 1
  end
end
local reading, list = redis.call('ZCOUNT', KEYS[5], string.format('%.0f', now), '+inf'), {}
if reading > 0 then
  local top = redis.call('ZRANGE', KEYS[5], 0, ARGV[1] - 1, 'REV', 'WITHSCORES')
  for i = 1, #top, 2 do
    local left = tonumber(top[i + 1]) - now
    if left >= 0 then
      list[#list + 1] = top[i]
      list[#list + 1] = left
      list[#list + 1] = redis.call('HGET', KEYS[6], top[i]) or ''
    end
  end
end
return {'ok', fence, digest, remaining, record, waiting, reading, list}
