-- Adds to a key of a copy. KEYS: the key. ARGV: the command, then what it takes. Should the
-- copy never be published, the server drops it an hour later.
local added = 0
for first = 2, #ARGV, 4000 do
  added = added + redis.call(ARGV[1], KEYS[1], unpack(ARGV, first, math.min(first + 3999, #ARGV)))
end
redis.call('PEXPIRE', KEYS[1], 3600000)
return added
