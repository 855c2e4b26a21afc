-- evict: revoke an owner. Its lock stays until it expires, so that exclusion is kept.
--
-- KEYS  1 holder  2 revoked  3 records
-- ARGV  1 digest  2 ms for which the revocation is remembered  3 quoted reason
-- Reply {'ok', ttl ms that the owner recorded (0: unknown)}

local ttl = recorded(KEYS[1], KEYS[3], ARGV[1])
revoke(KEYS[2], ARGV[1], ARGV[2], 'e', ARGV[3])
return {'ok', ttl}
