-- renew: extend a lock that is ours, or put it back where this node has lost it.
--
-- KEYS  lock, fence, holder, revoked
-- ARGV  1 v  2 digest of v  3 ttl ms  4 token  5 label  6 fence ttl ms
-- Reply {'extended', fence as it was found (0: none)}
--       'healed'  the lock was free and is ours again; the fence is at least the token
--       'lost'    the lock is somebody else's
--       'forced'  v was revoked
-- Errors QUARANTINE (instead of healing), WRONGTYPE, FENCE. None of them has changed anything.

if redis.call('ZSCORE', KEYS[4], ARGV[2]) then
  return 'forced'
end
local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end

if owner == ARGV[1] then
  -- GT: a late renewal with a shorter ttl must not bring the expiry forward.
  redis.call('PEXPIRE', KEYS[1], ARGV[3], 'GT')
  redis.call('PEXPIRE', KEYS[3], ARGV[3], 'GT')
  -- The fence of a lease that lives for longer than the fence's ttl lives on with it.
  local fence = redis.call('GETEX', KEYS[2], 'PX', ARGV[6])
  if not fence then
    redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[6])
  end
  return {'extended', tonumber(fence or 0) or 0}
end
if owner then
  return 'lost'
end

local quarantine = redis.quarantine and redis.quarantine() or 0 -- our own nodes only
if quarantine > 0 then
  return redis.error_reply(string.format('QUARANTINE %.0f ms left', quarantine))
end
local fence = tonumber(redis.call('GET', KEYS[2]) or 0)
if not fence then
  return redis.error_reply('FENCE the fence is no integer below 2^53-1')
end
redis.call('SET', KEYS[2], string.format('%.0f', math.max(fence, tonumber(ARGV[4]))), 'PX', ARGV[6])
redis.call('HSET', KEYS[3], 'digest', ARGV[2], 'label', ARGV[5], 'ttl', ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 'healed'
