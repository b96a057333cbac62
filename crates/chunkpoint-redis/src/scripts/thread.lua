-- What all scripts on a thread begin with.
--
-- KEYS begin with these seven, so that a cluster knows everything a script may touch and
-- refuses it as a whole while their slot moves. Every script reads each key it is going to
-- write before its first write: a key of another type then stops it with nothing done.
local head, order, hidden, packs, condemned, writes, pins =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local ours = { head, order, hidden, packs, condemned, writes, pins }

-- The engine's clock, how long an idle thread lives (0: for ever), both in milliseconds, and
-- the thread's id if its key has only a hash of it.
local now, ttl, id = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

-- How much longer than the engine says the server keeps what has expired, in milliseconds.
local MARGIN = 3600000

-- The incarnation; false if there is none, or it has expired.
local function life()
  local found = redis.call('HMGET', head, 'incarnation', 'expires', 'id')
  if not found[1] then return false end
  if found[3] and found[3] ~= id then
    error({ err = 'CHUNKPOINT_ID ' .. head .. ' belongs to another thread' })
  end
  if found[2] and tonumber(found[2]) <= now then return false end
  return found[1]
end

local TYPES = { 'hash', 'zset', 'zset', 'hash', 'zset', 'hash', 'set' }

-- Stops unless all keys are ours; for scripts that drop keys without reading them.
local function check_types()
  for n, key in ipairs(ours) do
    local type = redis.call('TYPE', key).ok
    if type ~= 'none' and type ~= TYPES[n] then
      error({ err = 'CHUNKPOINT_TYPE ' .. key .. ' is a ' .. type })
    end
  end
end

-- Drops what an ended or expired life has left, but not which ones must not start again.
local function drop()
  local ended, refused = unpack(redis.call('HMGET', head, 'ended', 'refused'))
  redis.call('UNLINK', unpack(ours))
  if ended then redis.call('HSET', head, 'ended', ended) end
  if refused then redis.call('HSET', head, 'refused', refused) end
end

-- Starts a life.
local function start(incarnation)
  drop()
  redis.call('HSET', head, 'incarnation', incarnation)
  if id ~= '' then redis.call('HSET', head, 'id', id) end
end

-- Lets the server drop all keys some time after they have expired. The head goes first:
-- without it, nothing of the thread is ever read.
local function expire_natively()
  redis.call('PEXPIRE', head, 2 * ttl + MARGIN)
  for n = 2, #ours do redis.call('PEXPIRE', ours[n], 2 * ttl + 2 * MARGIN) end
end

-- For a repeat that finds everything done. `WAIT` and `WAITAOF` wait for what their own
-- connection wrote last, and another one may have done it: so this one writes, too.
local function repeated()
  redis.call('HSET', head, 'incarnation', redis.call('HGET', head, 'incarnation'))
end

-- Notes that the thread was written to, or read.
local function written()
  if ttl == 0 then return end
  redis.call('HSET', head, 'expires', string.format('%d', now + ttl), 'stamped', string.format('%d', now))
  expire_natively()
end

local function was_read()
  if ttl == 0 then return end
  redis.call('HSET', head, 'expires', string.format('%d', now + ttl))
  local stamped = tonumber(redis.call('HGET', head, 'stamped') or 0)
  if now - stamped > ttl / 2 or now < stamped then written() end
end

-- A name is namespace, NUL, id; a member of an order is a name, NUL, pack. No id has a NUL,
-- so members of one name are a range, and so are those of one namespace, sorted by id.
local function member_of(name)
  local from, to = '[' .. name .. '\0', '(' .. name .. '\1'
  local found = redis.call('ZRANGE', order, from, to, 'BYLEX', 'LIMIT', 0, 1)[1]
  if found then return found, order end
  found = redis.call('ZRANGE', hidden, from, to, 'BYLEX', 'LIMIT', 0, 1)[1]
  return found or false, hidden
end

local function latest_of(namespace)
  return redis.call('ZRANGE', order, '(' .. namespace .. '\1', '[' .. namespace .. '\0', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1] or false
end

local function pack_of(member) return member:sub(-8) end
local function name_of(member) return member:sub(1, -10) end

-- A pack's own field: the length of its index, the number of its chunks, the index, the
-- body; empty once it was reclaimed but for some chunks.
local function chunk_count(blob)
  if not blob or #blob < 8 then return 0 end
  return (struct.unpack('>I4', blob, 5))
end

-- An entry of the condemned: pack, time (16 digits), and the chunks it has: `*` and how
-- many if all, else their ordinals with commas between.
local function condemned_of(pack)
  return redis.call('ZRANGE', condemned, '[' .. pack, '(' .. pack .. ':', 'BYLEX', 'LIMIT', 0, 1)[1] or false
end

local function condemn(pack, time)
  local count = chunk_count(redis.call('HGET', packs, pack))
  redis.call('ZADD', condemned, 0, pack .. time .. '*' .. string.format('%d', count))
end

-- Calls `command` with many values, in slices that fit on Lua's stack.
local function with_many(command, key, values, from, to)
  local answered = 0
  for first = from, to, 4000 do
    local last = math.min(first + 3999, to)
    answered = answered + redis.call(command, key, unpack(values, first, last))
  end
  return answered
end

-- Pending writes: `c` and a name has the calls in their order, each a write id and a time
-- of 16 digits; `w`, a write id and a name has what the call wrote.
local function calls_of(name)
  local calls = {}
  local list = redis.call('HGET', writes, 'c' .. name)
  if list then
    for at = 1, #list, 24 do calls[#calls + 1] = list:sub(at, at + 7) end
  end
  return calls
end

local function drop_writes(name)
  local fields = { 'c' .. name }
  for _, call in ipairs(calls_of(name)) do fields[#fields + 1] = 'w' .. call .. name end
  with_many('HDEL', writes, fields, 1, #fields)
end

-- A record as it is answered: member, hidden, pinned, index and body, calls.
-- `detail` is 0 for all but body and writes, 1 for all but writes, 2 for all.
local function row(member, is_hidden, detail)
  local blob = redis.call('HGET', packs, pack_of(member))
  if not blob or #blob < 8 then return false end
  if detail == 0 then blob = blob:sub(1, 8 + struct.unpack('>I4', blob)) end
  local name, calls = name_of(member), {}
  if detail == 2 then
    for _, call in ipairs(calls_of(name)) do
      local wrote = redis.call('HGET', writes, 'w' .. call .. name)
      if wrote then calls[#calls + 1] = wrote end
    end
  end
  return { member, is_hidden and 1 or 0, redis.call('SISMEMBER', pins, name), blob, calls }
end
