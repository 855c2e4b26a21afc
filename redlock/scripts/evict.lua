-- evict: revoke an owner. Its lock stays until it expires, so that exclusion is kept.
--
-- KEYS  holder, revoked
-- ARGV  1 digest  2 ms for which the revocation is remembered
-- Reply {'ok', ttl ms that the owner recorded (0: unknown)}

local ttl = recorded(KEYS[1], ARGV[1])
revoke(KEYS[2], ARGV[1], ARGV[2])
return {'ok', ttl}
