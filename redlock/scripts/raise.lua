-- raise: lift the fence of a lock that is ours to the token of the quorum.
--
-- KEYS  lock, fence
-- ARGV  1 v  2 token  3 fence ttl ms
-- Reply 'ok'    the lock is ours and the fence is the token now
--       'lost'  the lock is not ours here, or the fence is higher
-- Errors WRONGTYPE

local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
if owner ~= ARGV[1] or (tonumber(redis.call('GET', KEYS[2]) or 0) or math.huge) > tonumber(ARGV[2]) then
  return 'lost'
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 'ok'
