-- Removes, hides or pins records. ARGV: 4 incarnation, 5 time, then groups of three: a name,
-- a pack, and `r`, `h`, `p` or `u` (no longer pinned).
local answers = {}
if life() ~= ARGV[4] then
  for n = 6, #ARGV, 3 do answers[#answers + 1] = 'gone' end
  return answers
end
redis.call('ZCARD', hidden)
redis.call('HLEN', packs)
redis.call('ZCARD', condemned)
redis.call('HLEN', writes)
redis.call('SCARD', pins)
for n = 6, #ARGV, 3 do
  local name, pack, change = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  local member, where, answer = name .. '\0' .. pack, order, 'done'
  if not redis.call('ZSCORE', order, member) then where = hidden end
  if where == hidden and not redis.call('ZSCORE', hidden, member) then
    answer = 'gone'
  elseif change == 'p' then
    redis.call('SADD', pins, name)
  elseif change == 'u' then
    redis.call('SREM', pins, name)
  elseif redis.call('SISMEMBER', pins, name) == 1 then
    answer = 'pinned'
  elseif change == 'h' then
    redis.call('ZREM', order, member)
    redis.call('ZADD', hidden, 0, member)
    redis.call('HINCRBY', head, 'changes', 1)
  else
    redis.call('ZREM', where, member)
    drop_writes(name)
    condemn(pack, ARGV[5])
    redis.call('HINCRBY', head, 'changes', 1)
  end
  answers[#answers + 1] = answer
end
repeated()
written()
return answers
