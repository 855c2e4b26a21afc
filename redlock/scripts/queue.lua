-- Shared head of the scripts that touch the queue of a name: acquire, release, leave, force.
--
-- The queue is one sorted set. Score: the proposal of the waiter's first attempt (microseconds). Member:
-- "ID;DEADLINE", DEADLINE being this node's wall clock (milliseconds) after which the waiter counts as dead.
-- The order is (score, ID) on every node, IDs being compared with the semicolon at their end, so that the
-- nodes agree on the head without talking.

-- entry returns the waiter's member, or nil.
local function entry(queue, since, id)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', queue, since, since)) do
    if string.match(member, '^(.*);%d+$') == id then
      return member
    end
  end
end

local function millis()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- dead tells whether a member's deadline has passed, or is none.
local function dead(member, now)
  return (tonumber(string.match(member, ';(%d+)$')) or 0) <= now
end

-- wake drops dead heads and publishes to the first live one. It stays in the queue until it takes the lock
-- or leaves. PUBLISH may be denied by an ACL, which must not undo what the script has done: pcall.
local function wake(queue, name)
  local head = redis.call('ZRANGE', queue, 0, 0)[1]
  if not head then
    return
  end
  local now = millis()
  while head and dead(head, now) do
    redis.call('ZREM', queue, head)
    head = redis.call('ZRANGE', queue, 0, 0)[1]
  end
  if head then
    local id = string.match(head, '^(.*);%d+$')
    redis.pcall('PUBLISH', 'holdfast:wake:' .. string.match(id, '^[^/]*'), id .. ' ' .. name)
  end
end
