-- Makes a copy the thread. KEYS 8 to 13: the copy's keys. ARGV: 4 the incarnation to start,
-- 5 whether the thread is in the index, 6 bytes, 7 to 12 how many entries the keys have.
local current = life()
if current == ARGV[4] then
  repeated()
  return 'done'
end
if current then return 'exists' end
if ARGV[5] == '0' then return 'index' end
check_types()
local COUNT = { hash = 'HLEN', zset = 'ZCARD', set = 'SCARD' }
for n = 2, 7 do
  if redis.call(COUNT[TYPES[n]], KEYS[n + 6]) ~= tonumber(ARGV[n + 5]) then return 'lost' end
end
start(ARGV[4])
for n = 2, 7 do
  if ARGV[n + 5] ~= '0' then
    redis.call('RENAME', KEYS[n + 6], ours[n])
    redis.call('PERSIST', ours[n])
  end
end
redis.call('HSET', head, 'bytes', ARGV[6])
written()
return 'done'
