-- acquire: take the lock if it is free, otherwise join the queue.
--
-- KEYS  lock, fence, holder, waiters, revoked
-- ARGV  1 v  2 digest of v  3 ttl ms  4 proposal us  5 label  6 fence ttl ms
--       7 waiter id ('' does not queue)  8 waiter since us  9 waiter heartbeat ms  10 cap of the queue
-- Reply {'granted', fence}
--       {'held', remaining ms (-1: no ttl), digest of the holder, label, recorded 0|1}
--       'forced'
-- Errors QUARANTINE, WRONGTYPE, FENCE. None of them has changed anything.
--
-- The lock is written last: whatever fails half-way has at most lifted the fence, which is harmless.

local quarantine = redis.quarantine and redis.quarantine() or 0 -- our own nodes only
if quarantine > 0 then
  return redis.error_reply(string.format('QUARANTINE %.0f ms left', quarantine))
end
if redis.call('ZSCORE', KEYS[5], ARGV[2]) then
  return 'forced'
end
local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end

if not owner then
  local p = tonumber(ARGV[4])
  local t = redis.call('TIME')
  if p < 0 or p > (t[1] + 86400) * 1000000 + t[2] then
    p = 0 -- a clock that is off by more than a day does not speak for the fence
  end
  local f = math.max((tonumber(redis.call('GET', KEYS[2]) or 0) or math.huge) + 1, p)
  if not (f <= 9007199254740991) then
    return redis.error_reply('FENCE the fence is no integer below 2^53-1')
  end
  -- %.0f: tostring would round to 14 digits.
  redis.call('SET', KEYS[2], string.format('%.0f', f), 'PX', ARGV[6])
  redis.call('HSET', KEYS[3], 'digest', ARGV[2], 'label', ARGV[5], 'ttl', ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  if ARGV[7] ~= '' then
    local mine = entry(KEYS[4], ARGV[8], ARGV[7])
    if mine then
      redis.call('ZREM', KEYS[4], mine)
    end
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
  return {'granted', f}
end

if ARGV[7] ~= '' and owner ~= ARGV[1] then
  local now = millis()
  local mine = entry(KEYS[4], ARGV[8], ARGV[7])
  if mine then
    redis.call('ZREM', KEYS[4], mine)
  end
  local n = redis.call('ZCARD', KEYS[4])
  if n >= tonumber(ARGV[10]) then -- full: make room from the dead at its front
    for _, member in ipairs(redis.call('ZRANGE', KEYS[4], 0, 31)) do
      if dead(member, now) then
        n = n - redis.call('ZREM', KEYS[4], member)
      end
    end
  end
  if n < tonumber(ARGV[10]) then -- else it is not queued: the remaining ttl has to do
    redis.call('ZADD', KEYS[4], ARGV[8], string.format('%s;%.0f', ARGV[7], now + ARGV[9]))
    if n == 0 then
      redis.call('PEXPIRE', KEYS[4], ARGV[9])
    else
      redis.call('PEXPIRE', KEYS[4], ARGV[9], 'GT')
    end
  end
end
local digest = redis.sha1hex(owner)
local record = redis.call('HMGET', KEYS[3], 'digest', 'label')
local recorded = record[1] == digest
return {'held', redis.call('PTTL', KEYS[1]), digest, recorded and record[2] or '', recorded and 1 or 0}
