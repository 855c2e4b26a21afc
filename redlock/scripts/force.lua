-- force: revoke an owner, delete its lock now and wake the head of the queue.
--
-- KEYS  lock, holder, waiters, revoked
-- ARGV  1 digest  2 ms for which the revocation is remembered  3 lock name
-- Reply {'ok', ttl ms that the owner recorded (0: unknown)}
-- Errors WRONGTYPE

local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
local ttl = recorded(KEYS[2], ARGV[1])
revoke(KEYS[4], ARGV[1], ARGV[2])
if owner and redis.sha1hex(owner) == ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[2])
  wake(KEYS[3], ARGV[3])
end
return {'ok', ttl}
