-- A thread at one moment, but for its packs and writes; of these `changes` tells whether any
-- were taken away meanwhile.
local incarnation = life()
if not incarnation then return { false } end
was_read()
local counts = redis.call('HMGET', head, 'changes', 'bytes')
return {
  incarnation,
  counts[1] or '0',
  counts[2] or '0',
  redis.call('ZRANGE', order, 0, -1),
  redis.call('ZRANGE', hidden, 0, -1),
  redis.call('ZRANGE', condemned, 0, -1),
  redis.call('SMEMBERS', pins),
}
