-- leave: take a waiter out of the queue. A head that leaves may have been woken already, and nobody else
-- would be: if its successor may have the lock, it is woken in its place. That goes for one whose turn has
-- ended, too: it may have been the last to be woken.
--
-- KEYS  1 lock  2 waiters  3 readers
-- ARGV  1 waiter id  2 waiter since us  3 lock name  4 turn ms
-- Reply 'ok'

local mine = entry(KEYS[2], ARGV[2], ARGV[1])
if mine then
  redis.call('ZREM', KEYS[2], mine)
  local head = first(KEYS[2])
  if head and before(ARGV[2], ARGV[1], head.score, head.id) and redis.call('EXISTS', KEYS[1]) == 0 then
    pass(KEYS[2], head, tonumber(ARGV[4]), ARGV[3], last(KEYS[3], head.now))
  end
end
return 'ok'
