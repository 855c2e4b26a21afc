-- release: delete a lock that is ours and wake the head of the queue. The fence stays.
--
-- KEYS  1 lock  2 holder  3 waiters
-- ARGV  1 v  2 lock name  3 turn ms  4 announce: 1 or ''
-- Reply 'ok'    deleted
--       'lost'  the lock is not ours here
-- Errors WRONGTYPE

local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
if owner ~= ARGV[1] then
  if not owner then -- somebody deleted the lock alone
    redis.call('DEL', KEYS[2])
  end
  return 'lost'
end
redis.call('DEL', KEYS[1], KEYS[2])
local head = first(KEYS[3])
if head then
  wake(KEYS[3], head, tonumber(ARGV[3]), ARGV[2])
end
if ARGV[4] ~= '' then
  announce('released', ARGV[2])
end
return 'ok'
