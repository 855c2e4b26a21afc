-- Shared head of the scripts that announce what happens to a name: acquire, release, force.

-- announce tells those who watch a name. As with wake-up messages, an ACL may deny it.
local function announce(word, name)
  redis.pcall('PUBLISH', 'holdfast:change:' .. name, word .. ' ' .. name)
end
