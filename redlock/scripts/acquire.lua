-- acquire: take the lock if it is free and nobody's turn, otherwise join the queue.
--
-- KEYS  1 lock  2 fence  3 holder  4 revoked  5 waiters
-- ARGV  1 v  2 digest of v  3 ttl ms  4 proposal us  5 rest of the holder's record (see record.go)
--       6 fence ttl ms  7 waiter id ('' does not queue)  8 waiter since us  9 waiter heartbeat ms
--       10 cap of the queue  11 turn ms  12 lock name  13 announce: 1 or ''
-- Reply {'granted', fence}
--       {'held', remaining ms (-1: no ttl), digest of the holder, its record ('': none)}
--       {'turn', remaining ms}  the lock is free, but it is another waiter's turn
--       'forced'
-- Errors QUARANTINE, WRONGTYPE, FENCE. None of them has changed anything.
--
-- The lock is written last: whatever fails half-way has at most lifted the fence, which is harmless. When
-- nobody holds the lock or waits for it, that takes six commands.

local quarantine = redis.quarantine and redis.quarantine() or 0 -- our own nodes only
if quarantine > 0 then
  return redis.error_reply(string.format('QUARANTINE %.0f ms left', quarantine))
end
-- MGET is silent about keys of other types: they count as existing, and are looked at closely below.
local known = redis.call('MGET', KEYS[1], KEYS[2], KEYS[4], KEYS[3])
local owner, fence, revoked, record = known[1], known[2], known[3], known[4]
local t, now, head
if not owner and redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[4], KEYS[5]) > (fence and 1 or 0) then
  if type(redis.pcall('GET', KEYS[1])) == 'table' then
    return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
  end
  fence, revoked = fence or redis.call('GET', KEYS[2]), revoked or redis.call('GET', KEYS[4])
  t = redis.call('TIME')
  now = millis(t)
  head = first(KEYS[5], now)
end
if revoked and string.find(revoked, '\n' .. ARGV[2] .. ';', 1, true) then
  return 'forced'
end
local head_ours = head and ARGV[7] == head.id and tonumber(ARGV[8]) == tonumber(head.score)

if not owner and (not head or head_ours or ARGV[7] ~= '' and precedes(ARGV[8], ARGV[7], head)) then
  local p = tonumber(ARGV[4])
  t = t or redis.call('TIME')
  if p < 0 or p > (t[1] + 86400) * 1000000 + t[2] then
    p = 0 -- a clock that is off by more than a day does not speak for the fence
  end
  local f = math.max((tonumber(fence or 0) or math.huge) + 1, p)
  if not (f <= 9007199254740991) then
    return redis.error_reply('FENCE the fence is no integer below 2^53-1')
  end
  -- %.0f: tostring would round to 14 digits.
  local token = string.format('%.0f', f)
  redis.call('SET', KEYS[2], token, 'PX', ARGV[6])
  redis.call('SET', KEYS[3], ARGV[2] .. ';' .. token .. ';' .. ARGV[5], 'PX', ARGV[3])
  if head_ours then
    redis.call('ZREM', KEYS[5], head.member)
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
  if ARGV[13] ~= '' then
    announce('granted', ARGV[12])
  end
  return {'granted', f}
end

if ARGV[7] ~= '' and owner ~= ARGV[1] then
  now = now or millis()
  local mine = entry(KEYS[5], ARGV[8], ARGV[7])
  local n = redis.call('ZCARD', KEYS[5])
  local cap = tonumber(ARGV[10])
  if not mine and n >= cap then -- full: make room from the dead at its front
    for _, member in ipairs(redis.call('ZRANGE', KEYS[5], 0, 31)) do
      if dead(member, now) then
        n = n - redis.call('ZREM', KEYS[5], member)
      end
    end
  end
  if mine or n < cap then -- else it is not queued: the remaining ttl has to do
    local member = string.format('%s;%.0f', ARGV[7], now + ARGV[9])
    redis.call('ZADD', KEYS[5], ARGV[8], member)
    if mine and mine ~= member then
      redis.call('ZREM', KEYS[5], mine)
    end
    if n == 0 then
      redis.call('PEXPIRE', KEYS[5], ARGV[9])
    else
      redis.call('PEXPIRE', KEYS[5], ARGV[9], 'GT')
    end
  end
end
if not owner then
  -- The head has not been told, or the message was lost: the lock expired.
  if head.deadline > now + ARGV[11] then
    wake(KEYS[5], head, tonumber(ARGV[11]), ARGV[12])
  end
  return {'turn', head.deadline - now}
end
local digest = redis.sha1hex(owner)
if not record or string.sub(record, 1, 41) ~= digest .. ';' then
  record = ''
end
return {'held', redis.call('PTTL', KEYS[1]), digest, string.sub(record, 42)}
