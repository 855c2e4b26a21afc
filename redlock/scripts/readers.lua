-- Shared head of the scripts that deal with readers.
--
-- Those who hold a lock shared are in a sorted set: member the digest of the value, score the time (see millis)
-- until which it holds, each its own. A hash has their records by digest, "TOKEN;TTL;..." (record.go). Both keys
-- expire with the last reader.

-- reads tells whether a reader's lock is here and alive.
local function reads(readers, digest, now)
  local ends = redis.call('ZSCORE', readers, digest)
  return ends and tonumber(ends) >= now
end

-- last returns the digest of the reader who holds for longest and the end, or nil if nobody reads.
local function last(readers, now)
  local top = redis.call('ZRANGE', readers, 0, 0, 'REV', 'WITHSCORES')
  if top[1] and tonumber(top[2]) >= now then
    return top[1], tonumber(top[2])
  end
end

-- read gives a reader the lock until now + ttl, or for longer if it has it for longer. It is written last.
local function read(readers, records, digest, record, now, ttl)
  if record then
    redis.call('HSET', records, digest, record)
  end
  prolong(records, ttl)
  redis.call('ZADD', readers, 'GT', string.format('%.0f', now + ttl), digest)
  prolong(readers, ttl)
end

local function unread(readers, records, digest)
  redis.call('ZREM', readers, digest)
  redis.call('HDEL', records, digest)
end
