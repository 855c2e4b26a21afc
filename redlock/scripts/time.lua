-- Shared head of most scripts.

-- millis is the time in milliseconds for whatever is stored as a number: on our own nodes a clock that does
-- not jump, elsewhere the wall clock. t is a reply of TIME, if there is one already.
local function millis(t)
  if redis.running then
    return redis.running()
  end
  t = t or redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- prolong moves the expiry of a key to at least ms from now.
local function prolong(key, ms)
  if redis.call('PEXPIRE', key, ms, 'GT') == 0 then
    redis.call('PEXPIRE', key, ms, 'NX')
  end
end
