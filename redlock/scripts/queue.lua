-- Shared head of the scripts that touch the queue of a name: acquire, release, leave, force.
--
-- The queue is one sorted set. Score: the proposal of the waiter's first attempt (microseconds). Member:
-- "ID;DEADLINE", DEADLINE being the time (see millis) after which the waiter counts as dead; ";r" follows if it
-- wants to read. The order is (score, ID) on every node, IDs being compared with the semicolon at their end, so
-- that the nodes agree on the head without talking.
--
-- A free lock belongs to the head: whoever is not the head yields (acquire). The head that has been told so has
-- a turn: its deadline is brought forward to the end of the turn, so that one that died costs no more than that.

-- waiter takes a member apart: id, deadline, 'r' or ''. All are nil if it is none of ours; it counts as dead.
local function waiter(member)
  local id, deadline, mode = string.match(member, '^([^;]*);(%d+);?(r?)$')
  return id, tonumber(deadline), mode
end

-- entry returns the waiter's member, or nil.
local function entry(queue, since, id)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', queue, since, since)) do
    if waiter(member) == id then
      return member
    end
  end
end

-- dead tells whether a member's deadline has passed, or is none.
local function dead(member, now)
  local _, deadline = waiter(member)
  return (deadline or 0) <= now
end

-- before tells whether the waiter stands, or would stand, before another one.
local function before(since, id, score, other)
  since, score = tonumber(since), tonumber(score)
  return since < score or since == score and id .. ';' < other .. ';'
end

-- first drops dead heads and returns the live one, or nil. now may be nil; top is the front of the queue, if it
-- was looked at already.
local function first(queue, now, top)
  while true do
    top = top or redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
    local member = top[1]
    if not member then
      return nil
    end
    now = now or millis()
    local id, deadline, mode = waiter(member)
    if id and deadline > now then
      return {member = member, score = top[2], id = id, deadline = deadline, mode = mode, now = now}
    end
    redis.call('ZREM', queue, member)
    top = nil
  end
end

-- wake tells the head that it is its turn, and gives the turn an end. It stays in the queue until it takes the
-- lock or leaves. PUBLISH may be denied by an ACL, which must not undo what the script has done: pcall.
local function wake(queue, head, turn, name)
  local ends = head.now + turn
  if ends < head.deadline then
    -- In this order, so that the set is never empty and keeps its own expiry.
    local mode = head.mode == '' and '' or ';' .. head.mode
    redis.call('ZADD', queue, head.score, string.format('%s;%.0f%s', head.id, ends, mode))
    redis.call('ZREM', queue, head.member)
    head.deadline = ends
  end
  redis.pcall('PUBLISH', 'holdfast:wake:' .. string.match(head.id, '^[^/]*'), head.id .. ' ' .. name)
end

-- pass wakes the head if it may have the lock now: beside those who read, only a reader may.
local function pass(queue, head, turn, name, read)
  if head and (not read or head.mode == 'r') then
    wake(queue, head, turn, name)
  end
end

-- remind does so unless the head has been told.
local function remind(queue, head, turn, name, read)
  if head and head.deadline > head.now + turn then
    pass(queue, head, turn, name, read)
  end
end
