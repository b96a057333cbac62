-- What all scripts on a namespace of the long-term store begin with. KEYS are always these.
local head, items, order, expiring, garbage, packs =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

-- Stops, with nothing done, unless all keys are ours.
local function check_types()
  redis.call('HLEN', head)
  redis.call('HLEN', items)
  redis.call('ZCARD', order)
  redis.call('ZCARD', expiring)
  redis.call('ZCARD', garbage)
  redis.call('HLEN', packs)
end

-- A row: `v`, or `r` for what is remembered of an item that was removed; how many write ids
-- it remembers and how many packs it lists; when it was created, updated, its time to live
-- and its expiry, each in eight bytes, the last two one more than they are, or 0; the write
-- ids, the newest first; the packs; the body.
local HEAD = 36

local function read_row(row)
  local known, listed = row:byte(2), struct.unpack('>I2', row, 3)
  local created, expires = struct.unpack('>I8', row, 5), struct.unpack('>I8', row, 29)
  return {
    live = row:sub(1, 1) == 'v',
    created = created,
    expires = expires > 0 and expires - 1 or nil,
    recent = row:sub(HEAD + 1, HEAD + 8 * known),
    packs = row:sub(HEAD + 1 + 8 * known, HEAD + 8 * known + 8 * listed),
  }
end

local function each_id(ids, f)
  for at = 1, #ids, 8 do
    local answer = f(ids:sub(at, at + 7))
    if answer ~= nil then return answer end
  end
end

local function has_id(ids, wanted)
  return each_id(ids, function(id) if id == wanted then return true end end) or false
end

-- Calls a command with many values, in slices that fit on Lua's stack.
local function with_many(command, key, values)
  for first = 1, #values, 4000 do
    redis.call(command, key, unpack(values, first, math.min(first + 3999, #values)))
  end
end

-- A pack belongs to an item: `p`, its id and the key has the number of its chunks; `c`, its
-- id, the ordinal in four bytes and the key has a chunk.
local function pack_field(pack, key) return 'p' .. pack .. key end
local function chunk_field(pack, ordinal, key) return 'c' .. pack .. struct.pack('>I4', ordinal) .. key end

local function drop_pack(pack, key)
  local own = pack_field(pack, key)
  local count = redis.call('HGET', packs, own)
  if not count then return 0 end
  local fields = { own }
  for ordinal = 0, tonumber(count) - 1 do fields[#fields + 1] = chunk_field(pack, ordinal, key) end
  with_many('HDEL', packs, fields)
  -- What is no longer listed has the same name among the garbage.
  redis.call('ZREM', garbage, own)
  return 1
end
