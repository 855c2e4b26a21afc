-- inspect: read what this node knows about a name. Changes nothing.
--
-- KEYS  1 lock  2 fence  3 holder  4 waiters
-- Reply {'ok', fence, digest of the holder ('': free), remaining ms (-1: no ttl; 0 if free),
--        its record ('': none), live waiters}
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
local waiting = 0
local members = redis.call('ZRANGE', KEYS[4], 0, -1)
if #members > 0 then
  local now = millis()
  for _, member in ipairs(members) do
    if not dead(member, now) then
      waiting = waiting + 1
    end
  end
end
return {'ok', fence, digest, remaining, record, waiting}
