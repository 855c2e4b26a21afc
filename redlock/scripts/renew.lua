-- renew: extend a lock that is ours, or put it back where this node has lost it.
--
-- KEYS  1 lock  2 fence  3 holder  4 revoked  5 readers  6 records
-- ARGV  1 v  2 digest of v  3 ttl ms  4 token  5 rest of the holder's record  6 fence ttl ms  7 shared: 1 or ''
-- Reply {'extended', fence as it was found (0: none); for a reader the one that it has recorded}
--       'healed'  the lock was free and is ours again; the fence is at least the token
--       'lost'    the lock is somebody else's, and if we write, also if others read
--       {'forced', e|f, quoted reason}
-- Errors QUARANTINE (instead of healing), WRONGTYPE, FENCE. None of them has changed anything.
--
-- For a writer, to extend takes four commands.

local known = redis.call('MGET', KEYS[1], KEYS[2], KEYS[4])
local owner, fence, revoked = known[1], known[2], known[3]
local shared = ARGV[7] ~= ''
local forced = revocation(revoked, ARGV[2])
if forced then
  return forced
end
if owner and (owner ~= ARGV[1] or shared) then
  return 'lost'
end

local now
local extended = owner
if owner then
  -- GT: a late renewal with a shorter ttl must not bring the expiry forward.
  redis.call('PEXPIRE', KEYS[1], ARGV[3], 'GT')
  redis.call('PEXPIRE', KEYS[3], ARGV[3], 'GT')
elseif shared then
  now = millis()
  if reads(KEYS[5], ARGV[2], now) then
    extended = true
    read(KEYS[5], KEYS[6], ARGV[2], nil, now, ARGV[3])
  end
end
if extended then
  -- The fence of a lease that lives for longer than the fence's ttl lives on with it.
  if redis.call('PEXPIRE', KEYS[2], ARGV[6]) == 0 then
    redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[6])
  end
  if shared then -- other readers have lifted the fence meanwhile
    fence = string.match(redis.call('HGET', KEYS[6], ARGV[2]) or '', '^%d+')
  end
  return {'extended', tonumber(fence or 0) or 0}
end

-- MGET is silent about keys of other types, and what is not there has to be certain now.
if type(redis.pcall('GET', KEYS[1])) == 'table' then
  return redis.error_reply('WRONGTYPE the lock key holds something that is no lock')
end
redis.call('GET', KEYS[4])
now = now or millis()
if not shared and last(KEYS[5], now) then
  return 'lost'
end
local quarantine = redis.quarantine and redis.quarantine() or 0 -- our own nodes only
if quarantine > 0 then
  return redis.error_reply(string.format('QUARANTINE %.0f ms left', quarantine))
end
fence = tonumber(redis.call('GET', KEYS[2]) or 0)
if not fence then
  return redis.error_reply('FENCE the fence is no integer below 2^53-1')
end
redis.call('SET', KEYS[2], string.format('%.0f', math.max(fence, tonumber(ARGV[4]))), 'PX', ARGV[6])
if shared then
  read(KEYS[5], KEYS[6], ARGV[2], ARGV[4] .. ';' .. ARGV[5], now, ARGV[3])
else
  redis.call('SET', KEYS[3], ARGV[2] .. ';' .. ARGV[4] .. ';' .. ARGV[5], 'PX', ARGV[3])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
end
return 'healed'
