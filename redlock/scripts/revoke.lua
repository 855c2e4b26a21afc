-- Shared head of evict and force.

-- revoke remembers a digest, whether or not its lock is here. The list has a line for each owner:
-- "\nDIGEST;UNTIL;KIND;REASON", KIND being e (evicted) or f (forced) and REASON a quoted string (record.go).
-- What is in the list is revoked: the list as a whole expires ttl after the last revocation. UNTIL, a time in
-- milliseconds, serves only to keep a list small that never rests, and a day of grace keeps a jump of a wall
-- clock from forgetting anybody too early.
local function revoke(revoked, digest, ttl, kind, reason)
  local now = millis()
  local list = {}
  for line in string.gmatch(redis.call('GET', revoked) or '', '[^\n]+') do
    local other, till = string.match(line, '^(%x+);(%d+);')
    if other ~= digest and tonumber(till or 0) > now - 86400000 then
      list[#list + 1] = line
    end
  end
  list[#list + 1] = string.format('%s;%.0f;%s;', digest, now + ttl, kind) .. reason
  redis.call('SET', revoked, '\n' .. table.concat(list, '\n'), 'KEEPTTL')
  prolong(revoked, ttl)
end

-- recorded returns the ttl that the owner recorded and its flags, be it a writer or a reader; 0 and '' if it
-- has no record here.
local function recorded(holder, records, digest)
  local record = redis.pcall('GET', holder)
  if type(record) == 'string' and string.sub(record, 1, 41) == digest .. ';' then
    record = string.sub(record, 42)
  else
    record = redis.call('HGET', records, digest) or ''
  end
  local ttl, flags = string.match(record, '^%d+;(%d+);(%a*);')
  return tonumber(ttl or 0), flags or ''
end
