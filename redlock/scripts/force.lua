-- force: revoke an owner, writer or reader, delete its lock now and wake the head of the queue.
--
-- KEYS  1 lock  2 holder  3 waiters  4 revoked  5 readers  6 records
-- ARGV  1 digest  2 ms for which the revocation is remembered  3 quoted reason  4 lock name  5 turn ms
-- Reply {'ok', ttl ms that the owner recorded (0: unknown)}
-- Errors WRONGTYPE

local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
local ttl, flags = recorded(KEYS[2], KEYS[6], ARGV[1])
revoke(KEYS[4], ARGV[1], ARGV[2], 'f', ARGV[3])
local now = millis()
local here = owner and redis.sha1hex(owner) == ARGV[1]
if here then
  redis.call('DEL', KEYS[1], KEYS[2])
  owner = nil
elseif reads(KEYS[5], ARGV[1], now) then
  unread(KEYS[5], KEYS[6], ARGV[1])
  here = true
end
if here then
  if not owner then
    pass(KEYS[3], first(KEYS[3], now), tonumber(ARGV[5]), ARGV[4], last(KEYS[5], now))
  end
  if string.find(flags, 'a', 1, true) then
    announce('forced', ARGV[4])
  end
end
return {'ok', ttl}
