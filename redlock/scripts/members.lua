-- members: read the set of a name. A node that may have forgotten members does not speak for them.
--
-- KEYS  1 set
-- Reply {'ok', {members in any order}}
-- Errors QUARANTINE, WRONGTYPE

local quarantine = redis.quarantine and redis.quarantine() or 0 -- our own nodes only
if quarantine > 0 then
  return redis.error_reply(string.format('QUARANTINE %.0f ms left', quarantine))
end
return {'ok', redis.call('SMEMBERS', KEYS[1])}
