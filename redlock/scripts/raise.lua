-- raise: lift the fence of a lock that is ours to the token of the quorum.
--
-- KEYS  1 lock  2 fence  3 readers  4 records
-- ARGV  1 v  2 token  3 fence ttl ms  4 digest of a reader's v, or ''  5 the fence of the reader's grant here
-- Reply 'ok'    the lock is ours and the fence is the token now; for a reader, at least the token
--       'lost'  the lock is not ours here, or the fence is higher
-- Errors WRONGTYPE
--
-- While a writer has the lock, nobody else lifts the fence: if it is higher, somebody had the lock in between. Other
-- readers do lift it. So a reader proves with its grant's own fence that it has had the lock ever since: another
-- grant of the same value would have had a higher one.

local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
local fence = tonumber(redis.call('GET', KEYS[2]) or 0) or math.huge
local token = tonumber(ARGV[2])
if ARGV[4] == '' then
  if owner ~= ARGV[1] or fence > token then
    return 'lost'
  end
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
  return 'ok'
end
if owner or fence == math.huge or not reads(KEYS[3], ARGV[4], millis()) then
  return 'lost'
end
local granted, rest = string.match(redis.call('HGET', KEYS[4], ARGV[4]) or '', '^(%d+)(;.*)$')
if granted ~= ARGV[5] then
  return 'lost'
end
redis.call('SET', KEYS[2], string.format('%.0f', math.max(fence, token)), 'PX', ARGV[3])
redis.call('HSET', KEYS[4], ARGV[4], ARGV[2] .. rest)
return 'ok'
