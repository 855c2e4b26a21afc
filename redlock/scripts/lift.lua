-- lift: lift the fence to a token that was granted by other nodes. Grants nothing.
--
-- KEYS  fence
-- ARGV  1 token  2 fence ttl ms
-- Reply 'ok'    the fence is at least the token now
-- Errors FENCE

local fence = tonumber(redis.call('GET', KEYS[1]) or 0)
if not fence then
  return redis.error_reply('FENCE the fence is no integer below 2^53-1')
end
if fence < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 'ok'
