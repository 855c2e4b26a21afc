-- leave: take a waiter out of the queue. A head that leaves may have been woken already, and nobody else
-- would be: if the lock is free, its successor is woken in its place. That goes for one whose turn has ended,
-- too: it may have been the last to be woken.
--
-- KEYS  1 lock  2 waiters
-- ARGV  1 waiter id  2 waiter since us  3 lock name  4 turn ms
-- Reply 'ok'

local mine = entry(KEYS[2], ARGV[2], ARGV[1])
if mine then
  redis.call('ZREM', KEYS[2], mine)
  local head = first(KEYS[2])
  if head and precedes(ARGV[2], ARGV[1], head) and redis.call('EXISTS', KEYS[1]) == 0 then
    wake(KEYS[2], head, tonumber(ARGV[4]), ARGV[3])
  end
end
return 'ok'
