-- release: delete a lock that is ours and wake the head of the queue. The fence stays.
--
-- KEYS  lock, holder, waiters
-- ARGV  1 v  2 lock name
-- Reply 'ok'    deleted
--       'lost'  the lock is not ours here
-- Errors WRONGTYPE

local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
if owner ~= ARGV[1] then
  return 'lost'
end
redis.call('DEL', KEYS[1], KEYS[2])
wake(KEYS[3], ARGV[2])
return 'ok'
