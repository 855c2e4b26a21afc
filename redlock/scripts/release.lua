-- release: delete a lock that is ours and wake the head of the queue. The fence stays.
--
-- KEYS  1 lock  2 holder  3 waiters  4 readers  5 records
-- ARGV  1 v  2 lock name  3 turn ms  4 announce: 1 or ''  5 digest of a reader's v, or ''
-- Reply 'ok'    deleted
--       'lost'  the lock is not ours here
-- Errors WRONGTYPE
--
-- When nobody waits, a writer's release takes three commands.

local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
local turn, top = tonumber(ARGV[3]), nil
if ARGV[5] == '' then
  if owner ~= ARGV[1] then
    if not owner then -- somebody deleted the lock alone
      redis.call('DEL', KEYS[2])
    end
    return 'lost'
  end
  redis.call('DEL', KEYS[1], KEYS[2])
  top = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
  if ARGV[4] == '' and not top[1] then
    return 'ok' -- the common way
  end
end
-- (heads)
if ARGV[5] == '' then
  local head = first(KEYS[3], nil, top)
  if head then
    wake(KEYS[3], head, turn, ARGV[2])
  end
else
  local now = millis()
  if not reads(KEYS[4], ARGV[5], now) then
    return 'lost'
  end
  unread(KEYS[4], KEYS[5], ARGV[5])
  if not owner then
    pass(KEYS[3], first(KEYS[3], now), turn, ARGV[2], last(KEYS[4], now))
  end
end
if ARGV[4] ~= '' then
  announce('released', ARGV[2])
end
return 'ok'
