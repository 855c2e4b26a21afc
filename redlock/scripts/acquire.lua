-- acquire: take the lock if it is free and nobody else's turn, otherwise join the queue. A reader takes it
-- beside other readers.
--
-- KEYS  1 lock  2 fence  3 holder  4 revoked  5 waiters  6 readers  7 records
-- ARGV  1 v  2 digest of v  3 ttl ms  4 proposal us  5 rest of the holder's record (see record.go)
--       6 fence ttl ms  7 waiter id ('' does not queue)  8 waiter since us  9 waiter heartbeat ms
--       10 cap of the queue  11 turn ms  12 lock name  13 announce: 1 or ''  14 shared: 1 or ''
-- Reply {'granted', fence}
--       {'held', remaining ms (-1: no ttl), digest of the holder, its record ('': none)}
--       {'read', remaining ms, digest of the reader who holds for longest, its record}
--       {'turn', remaining ms}  the lock is free, but it is another waiter's turn
--       {'forced', e|f, quoted reason}
-- Errors QUARANTINE, WRONGTYPE, FENCE. None of them has changed anything.
--
-- The lock is written last: whatever fails half-way has at most lifted the fence, which is harmless. When
-- nobody holds the lock or waits for it, that takes six commands.

local quarantine = redis.quarantine and redis.quarantine() or 0 -- our own nodes only
if quarantine > 0 then
  return redis.error_reply(string.format('QUARANTINE %.0f ms left', quarantine))
end
local shared, id, since, turn = ARGV[14] ~= '', ARGV[7], ARGV[8], tonumber(ARGV[11])
-- MGET is silent about keys of other types: they count as existing, and are looked at closely below.
local known = redis.call('MGET', KEYS[1], KEYS[2], KEYS[4], KEYS[3])
local owner, fence, revoked, record = known[1], known[2], known[3], known[4]
local t, now
local pristine = not owner and redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6]) == (fence and 1 or 0)

-- lift lifts the fence for a grant and returns it, or nil and the error.
local function lift(fence)
  local p = tonumber(ARGV[4])
  t = t or redis.call('TIME')
  if p < 0 or p > (t[1] + 86400) * 1000000 + t[2] then
    p = 0 -- a clock that is off by more than a day does not speak for the fence
  end
  local f = math.max((tonumber(fence or 0) or math.huge) + 1, p)
  if not (f <= 9007199254740991) then
    return nil, redis.error_reply('FENCE the fence is no integer below 2^53-1')
  end
  -- %.0f: tostring would round to 14 digits.
  local token = string.format('%.0f', f)
  redis.call('SET', KEYS[2], token, 'PX', ARGV[6])
  return f, token
end

-- own gives a writer the lock.
local function own(token)
  redis.call('SET', KEYS[3], ARGV[2] .. ';' .. token .. ';' .. ARGV[5], 'PX', ARGV[3])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
end

if pristine and not shared and ARGV[13] == '' then -- the common way
  local f, token = lift(fence)
  if not f then
    return token
  end
  own(token)
  return {'granted', f}
end
-- (heads)
if not owner and not pristine then
  if type(redis.pcall('GET', KEYS[1])) == 'table' then
    return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
  end
  fence, revoked = fence or redis.call('GET', KEYS[2]), revoked or redis.call('GET', KEYS[4])
  t = redis.call('TIME')
  now = millis(t)
end
local forced = revocation(revoked, ARGV[2])
if forced then
  return forced
end

-- What is in the way: 'held', 'read' or 'turn'.
local barred = owner and 'held'
local again = owner == ARGV[1] -- this very v has the lock
local reader, ends, head, mine
if not owner and not pristine then
  reader, ends = last(KEYS[6], now)
  head = first(KEYS[5], now)
  if reader and not shared then
    barred = 'read'
  elseif reader and reads(KEYS[6], ARGV[2], now) then
    barred, again = 'read', true
  elseif head and not shared then
    if id == head.id and tonumber(since) == tonumber(head.score) then
      mine = head.member
    elseif id == '' or not before(since, id, head.score, head.id) then
      barred = 'turn'
    end
  elseif head then -- readers yield to a live writer before them, and so to nobody who is before that one
    local at, page = 0, {}
    repeat
      page = redis.call('ZRANGE', KEYS[5], at, at + 31, 'WITHSCORES')
      for i = 1, #page, 2 do
        local other, deadline, mode = waiter(page[i])
        if other and id ~= '' and not before(page[i + 1], other, since, id) then
          page = {}
          break
        elseif other and mode == '' and deadline > now then
          barred = reader and 'read' or 'turn'
        end
      end
      at = at + 32
    until barred or #page < 64
  end
end

if not barred then
  local f, token = lift(fence)
  if not f then
    return token
  end
  if shared then
    mine = head and id ~= '' and entry(KEYS[5], since, id)
  end
  if mine then
    redis.call('ZREM', KEYS[5], mine)
  end
  if shared then
    now = now or millis(t)
    if reader then -- those who expired leave nothing behind while others go on
      for _, gone in ipairs(redis.call('ZRANGE', KEYS[6], '-inf', string.format('(%.0f', now), 'BYSCORE', 'LIMIT', 0, 32)) do
        unread(KEYS[6], KEYS[7], gone)
      end
    end
    read(KEYS[6], KEYS[7], ARGV[2], token .. ';' .. ARGV[5], now, ARGV[3])
    if head then -- the next one may read as well
      remind(KEYS[5], first(KEYS[5], now), turn, ARGV[12], true)
    end
  else
    own(token)
  end
  if ARGV[13] ~= '' then
    announce('granted', ARGV[12])
  end
  return {'granted', f}
end

if id ~= '' and not again then
  now = now or millis()
  mine = mine or entry(KEYS[5], since, id)
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
    local member = string.format('%s;%.0f%s', id, now + ARGV[9], shared and ';r' or '')
    redis.call('ZADD', KEYS[5], since, member)
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
if barred == 'held' then
  local digest = redis.sha1hex(owner)
  if not record or string.sub(record, 1, 41) ~= digest .. ';' then
    record = ''
  end
  return {'held', redis.call('PTTL', KEYS[1]), digest, string.sub(record, 42)}
end
-- The head may have the lock and has not been told, or the message was lost: what was held has expired.
if head and (head.id ~= id or tonumber(head.score) ~= tonumber(since)) then
  remind(KEYS[5], head, turn, ARGV[12], reader)
end
if barred == 'read' then
  return {'read', ends - now, reader, redis.call('HGET', KEYS[7], reader) or ''}
end
return {'turn', head.deadline - now}
