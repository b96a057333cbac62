-- Removes what is due. ARGV: 1 the latest time, 2 how many at most, 3 the life that the index
-- names. Answers how many items had expired, how many packs went, whether there may be more,
-- and whether the index may forget that life.
check_types()
local before, limit, expired, dropped = ARGV[1], tonumber(ARGV[2]), 0, 0
local function due(key)
  return redis.call('ZRANGE', key, '-inf', before, 'BYSCORE', 'LIMIT', 0, limit)
end
local more = 0
for _, key in ipairs(due(expiring)) do
  expired = expired + 1
  local stored = redis.call('HGET', items, key)
  if stored then
    each_id(read_row(stored).packs, function(pack) dropped = dropped + drop_pack(pack, key) end)
  end
  redis.call('HDEL', items, key)
  redis.call('ZREM', order, key)
  redis.call('ZREM', expiring, key)
end
local others = due(garbage)
for _, entry in ipairs(others) do
  if entry:sub(1, 1) == 'p' then
    dropped = dropped + drop_pack(entry:sub(2, 9), entry:sub(10))
  else
    redis.call('HDEL', items, entry:sub(2))
  end
  redis.call('ZREM', garbage, entry)
end
if expired == limit or #others == limit then more = 1 end

-- With nothing left, the life ends; one that another put was about to start is refused.
local life, forget = redis.call('HGET', head, 'life'), 0
local empty = redis.call('HLEN', items) == 0 and redis.call('HLEN', packs) == 0
if life == ARGV[3] and empty then
  redis.call('HDEL', head, 'life')
  life = false
end
if life ~= ARGV[3] then
  forget = 1
  if not life then
    redis.call('HSET', head, 'refused', with_refused(redis.call('HGET', head, 'refused'), ARGV[3]))
    redis.call('PEXPIRE', head, REFUSED_FOR)
  end
end
return { expired, dropped, more, forget }
