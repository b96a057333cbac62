-- Adds a pack. ARGV: 4 namespace, 5 id, 6 pack, 7 `root` or `borrow`, 8 the incarnation to
-- start or borrowed from, 9 what the latest has to be (empty: anything; `-`: none; `=` and an
-- id), 10 time, 11 bytes, 12 whether the thread is in the index, 13 the number of parents n,
-- then n members, then pairs of field and value, the pack's own first.
local namespace, pack, incarnation, expected = ARGV[4], ARGV[6], ARGV[8], ARGV[9]
local name = namespace .. '\0' .. ARGV[5]
local parents = tonumber(ARGV[13])
local first = 14 + parents

local current = life()
if current and redis.call('HEXISTS', packs, pack) == 1 then
  was_read()
  repeated()
  return { 'done', current }
end
if ARGV[7] == 'borrow' then
  if current ~= incarnation then return { 'gone' } end
  for n = 14, first - 1 do
    local there = redis.call('ZSCORE', order, ARGV[n]) or redis.call('ZSCORE', hidden, ARGV[n])
    if not there then return { 'gone', ARGV[n] } end
  end
elseif not current then
  local past = redis.call('HMGET', head, 'ended', 'refused')
  if past[1] == incarnation then return { 'done', incarnation } end
  if is_refused(past[2], incarnation) then return { 'refused' } end
  if ARGV[12] == '0' then return { 'index' } end
  check_types()
end
if expected ~= '' then
  local latest = current and latest_of(namespace)
  local found = latest and '=' .. name_of(latest):sub(#namespace + 2) or '-'
  if found ~= expected then return { 'conflict', found } end
end

local old, where = false, nil
if current then
  old, where = member_of(name)
else
  start(incarnation)
  current = incarnation
end
if old then
  redis.call('ZCARD', condemned)
  -- The first parent stays: it stands before the rest of the index, after a length.
  local before, after = redis.call('HGET', packs, pack_of(old)), ARGV[first + 1]
  if before and #before >= 10 then
    local kept = before:sub(9, 10 + math.max(struct.unpack('>I2', before, 9) - 1, 0))
    local given = 2 + math.max(struct.unpack('>I2', after, 9) - 1, 0)
    local length = struct.unpack('>I4', after) - given + #kept
    ARGV[first + 1] = struct.pack('>I4', length) .. after:sub(5, 8) .. kept .. after:sub(9 + given)
  end
  redis.call('ZREM', where, old)
  redis.call('HINCRBY', head, 'changes', 1)
  condemn(pack_of(old), ARGV[10])
end
with_many('HSET', packs, ARGV, first, #ARGV)
redis.call('HINCRBY', head, 'bytes', ARGV[11])
redis.call('ZADD', order, 0, name .. '\0' .. pack)
written()
return { 'done', current }
