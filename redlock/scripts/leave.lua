-- leave: take a waiter out of the queue. A head that leaves may have been woken already, and nobody else
-- would be: if the lock is free, its successor is woken in its place.
--
-- KEYS  lock, waiters
-- ARGV  1 waiter id  2 waiter since us  3 lock name
-- Reply 'ok'

local mine = entry(KEYS[2], ARGV[2], ARGV[1])
if mine then
  local head = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  redis.call('ZREM', KEYS[2], mine)
  if head == mine and redis.call('EXISTS', KEYS[1]) == 0 then
    wake(KEYS[2], ARGV[3])
  end
end
return 'ok'
