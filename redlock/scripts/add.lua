-- add: put a member into the set of a name, which only grows. Whoever watches is told of a new one.
--
-- KEYS  1 set
-- ARGV  1 member  2 ttl ms of the whole set from now, unless it is longer already  3 most members  4 name
-- Reply 'ok'
-- Errors QUARANTINE, FULL, WRONGTYPE. None of them has changed anything.

local quarantine = redis.quarantine and redis.quarantine() or 0 -- our own nodes only
if quarantine > 0 then
  return redis.error_reply(string.format('QUARANTINE %.0f ms left', quarantine))
end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[3]) then
    return redis.error_reply('FULL the set has ' .. ARGV[3] .. ' members')
  end
  redis.call('SADD', KEYS[1], ARGV[1])
  announce('added', ARGV[4])
end
prolong(KEYS[1], ARGV[2])
return 'ok'
