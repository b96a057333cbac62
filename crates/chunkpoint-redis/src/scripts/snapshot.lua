-- A page of a thread's orders and of its condemned, and its pins. ARGV: 4 to 6 where to go on
-- in the visible ones, the hidden ones and the condemned (empty: at the beginning; `-`:
-- nowhere), 7 how many of each, or -1.
--
-- Pages whose second element is the same are of one moment: whatever is added to a thread, or
-- taken from it, changes its bytes, its `changes`, or how many there are. Packs and writes are
-- read later; `changes` tells whether any were taken away meanwhile.
local incarnation = life()
if not incarnation then return { false } end
was_read()
local counts = redis.call('HMGET', head, 'changes', 'bytes')
local changes, bytes = counts[1] or '0', counts[2] or '0'
local function page(key, after)
  if after == '-' then return {} end
  if after == '' then after = '-' else after = '(' .. after end
  return redis.call('ZRANGE', key, after, '+', 'BYLEX', 'LIMIT', 0, ARGV[7])
end
local moment = table.concat({
  changes,
  bytes,
  redis.call('ZCARD', order),
  redis.call('ZCARD', hidden),
  redis.call('ZCARD', condemned),
  redis.call('SCARD', pins),
}, ' ')
return {
  incarnation,
  moment,
  changes,
  bytes,
  page(order, ARGV[4]),
  page(hidden, ARGV[5]),
  page(condemned, ARGV[6]),
  ARGV[4] == '' and redis.call('SMEMBERS', pins) or {},
}
