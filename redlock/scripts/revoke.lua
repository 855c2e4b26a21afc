-- Shared head of evict and force.

-- revoke remembers a digest, whether or not its lock is here. What is in the set is revoked: the set as a
-- whole expires ttl after the last revocation. The scores serve only to keep a set small that never rests,
-- and a day of grace keeps a jump of this node's wall clock from forgetting anybody too early.
local function revoke(revoked, digest, ttl)
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', revoked, '-inf', string.format('%.0f', now - 86400000))
  redis.call('ZADD', revoked, string.format('%.0f', now + ttl), digest)
  if redis.call('PEXPIRE', revoked, ttl, 'GT') == 0 then
    redis.call('PEXPIRE', revoked, ttl, 'NX')
  end
end

-- recorded returns the ttl that the owner recorded, 0 if it has no record here.
local function recorded(holder, digest)
  local record = redis.call('HMGET', holder, 'digest', 'ttl')
  return record[1] == digest and tonumber(record[2]) or 0
end
