-- Changes an item. ARGV: 1 the life to start, 2 whether it is in the index, 3 `p` for a put,
-- `d` for a removal, `n` for a renewal, 4 key, 5 write id, 6 what is expected (empty:
-- anything; `-`: nothing there; else a version), 7 now, 8 expiry or nothing; for a put 9 when
-- it is created, 10 times as a row has them, 11 packs, 12 body, then chunks.
local what, key, id, expected, now, expiry = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8]

check_types()
local known = redis.call('HMGET', head, 'life', 'refused')
if not known[1] then
  if what == 'n' then return { 'conflict' } end
  if is_refused(known[2], ARGV[1]) then return { 'refused' } end
  if ARGV[2] == '0' then return { 'index' } end
end

local stored = redis.call('HGET', items, key)
local row = stored and read_row(stored) or { live = false, recent = '', packs = '', created = 0 }
local created = row.live and row.created or 0

if what == 'n' then
  if not row.live then return { 'conflict' } end
  local version = row.recent:sub(1, 8)
  if version ~= id then return { 'conflict', version } end
  redis.call('HSET', items, key, stored:sub(1, 28) .. struct.pack('>I8', tonumber(expiry) + 1) .. stored:sub(HEAD + 1))
  redis.call('ZADD', expiring, expiry, key)
  return { 'done', string.format('%d', created) }
end

if has_id(row.recent, id) then
  -- A repeat writes as well: `WAIT` waits for what its own connection wrote last.
  redis.call('HSET', items, key, stored)
  return { 'done', string.format('%d', created) }
end
local there = row.live and not (row.expires and row.expires <= now)
local version = there and row.recent:sub(1, 8)
local holds = expected == '' or (expected == '-' and not version) or (version and expected == version)
if not holds then return { 'conflict', version or nil } end

local listed = ''
if what == 'p' then
  listed = ARGV[11]
  local lost = each_id(listed, function(pack)
    if pack ~= id and redis.call('HEXISTS', packs, pack_field(pack, key)) == 0 then return true end
  end)
  if lost then return { 'conflict', version or nil } end
end

if not known[1] then
  redis.call('HSET', head, 'life', ARGV[1])
  -- A refusal lets it expire.
  redis.call('PERSIST', head)
end
each_id(row.packs, function(pack)
  if not has_id(listed, pack) then redis.call('ZADD', garbage, now, pack_field(pack, key)) end
end)
local recent = (id .. row.recent):sub(1, 32)
if what == 'd' then
  local times = struct.pack('>I8I8I8I8', 0, now, 0, 0)
  redis.call('HSET', items, key, 'r' .. string.char(#recent / 8) .. '\0\0' .. times .. recent)
  redis.call('ZREM', order, key)
  redis.call('ZREM', expiring, key)
  redis.call('ZADD', garbage, now, 'i' .. key)
  return { 'done', '0' }
end

if #ARGV > 12 then
  local fields = { pack_field(id, key), #ARGV - 12 }
  for n = 13, #ARGV do
    fields[#fields + 1] = chunk_field(id, n - 13, key)
    fields[#fields + 1] = ARGV[n]
  end
  with_many('HSET', packs, fields)
  if not has_id(listed, id) then redis.call('ZADD', garbage, now, pack_field(id, key)) end
end
each_id(listed, function(pack) redis.call('ZREM', garbage, pack_field(pack, key)) end)
created = there and row.created or tonumber(ARGV[9])
redis.call(
  'HSET', items, key,
  'v' .. string.char(#recent / 8) .. struct.pack('>I2I8', #listed / 8, created) .. ARGV[10] .. recent .. listed .. ARGV[12]
)
redis.call('ZADD', order, 0, key)
if expiry ~= '' then redis.call('ZADD', expiring, expiry, key) else redis.call('ZREM', expiring, key) end
redis.call('ZREM', garbage, 'i' .. key)
return { 'done', string.format('%d', created) }
