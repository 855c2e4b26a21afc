-- Shared head of the scripts that touch the queue of a name: acquire, release, leave, force.
--
-- The queue is one sorted set. Score: the proposal of the waiter's first attempt (microseconds). Member:
-- "ID;DEADLINE", DEADLINE being the time (see millis) after which the waiter counts as dead. The order is
-- (score, ID) on every node, IDs being compared with the semicolon at their end, so that the nodes agree on
-- the head without talking.
--
-- A free lock belongs to the head: whoever is not the head yields (acquire). The head that has been told so has
-- a turn: its deadline is brought forward to the end of the turn, so that one that died costs no more than that.

-- millis is the time in milliseconds for whatever is stored as a number: on our own nodes a clock that does
-- not jump, elsewhere the wall clock. t is a reply of TIME, if there is one already.
local function millis(t)
  if redis.running then
    return redis.running()
  end
  t = t or redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- entry returns the waiter's member, or nil.
local function entry(queue, since, id)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', queue, since, since)) do
    if string.match(member, '^(.*);%d+$') == id then
      return member
    end
  end
end

-- dead tells whether a member's deadline has passed, or is none.
local function dead(member, now)
  return (tonumber(string.match(member, ';(%d+)$')) or 0) <= now
end

-- first drops dead heads and returns the live one, or nil. now may be nil.
local function first(queue, now)
  while true do
    local top = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
    local member = top[1]
    if not member then
      return nil
    end
    now = now or millis()
    if not dead(member, now) then
      local id, deadline = string.match(member, '^(.*);(%d+)$')
      return {member = member, score = top[2], id = id, deadline = tonumber(deadline), now = now}
    end
    redis.call('ZREM', queue, member)
  end
end

-- precedes tells whether a waiter stands, or would stand, before the head.
local function precedes(since, id, head)
  since = tonumber(since)
  local score = tonumber(head.score)
  return since < score or since == score and id .. ';' < head.id .. ';'
end

-- wake tells the head that it is its turn, and gives the turn an end. It stays in the queue until it takes the
-- lock or leaves. PUBLISH may be denied by an ACL, which must not undo what the script has done: pcall.
local function wake(queue, head, turn, name)
  local ends = head.now + turn
  if ends < head.deadline then
    -- In this order, so that the set is never empty and keeps its own expiry.
    redis.call('ZADD', queue, head.score, string.format('%s;%.0f', head.id, ends))
    redis.call('ZREM', queue, head.member)
    head.deadline = ends
  end
  redis.pcall('PUBLISH', 'holdfast:wake:' .. string.match(head.id, '^[^/]*'), head.id .. ' ' .. name)
end
