-- Shared head of acquire and renew.

-- revocation looks for a digest in the list of the revoked (see revoke.lua). It returns the reply, or nil.
local function revocation(list, digest)
  local at = list and string.find(list, '\n' .. digest .. ';', 1, true)
  if at then
    local kind, reason = string.match(list, '^%d+;(%a);([^\n]*)', at + 42)
    return {'forced', kind or '', reason or ''}
  end
end
