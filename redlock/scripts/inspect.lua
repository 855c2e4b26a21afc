-- inspect: read what this node knows about a name. Changes nothing.
--
-- KEYS  lock, fence, holder, waiters
-- Reply {'ok', fence, digest of the holder ('': free), remaining ms (-1: no ttl; 0 if free), label,
--        recorded 0|1, live waiters}
-- Errors WRONGTYPE

local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
local fence = tonumber(redis.call('GET', KEYS[2]) or 0) or 0
local digest, remaining, label, recorded = '', 0, '', 0
if owner then
  digest = redis.sha1hex(owner)
  remaining = redis.call('PTTL', KEYS[1])
  local record = redis.call('HMGET', KEYS[3], 'digest', 'label')
  if record[1] == digest then
    label, recorded = record[2] or '', 1
  end
end
local waiting = 0
local members = redis.call('ZRANGE', KEYS[4], 0, -1)
if #members > 0 then
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  for _, member in ipairs(members) do
    if (tonumber(string.match(member, ';(%d+)$')) or 0) > now then
      waiting = waiting + 1
    end
  end
end
return {'ok', fence, digest, remaining, label, recorded, waiting}
