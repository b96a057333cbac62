-- Frees chunks of condemned packs, and what else is left of these. ARGV: 4 incarnation,
-- 5 the latest time at which a pack may have been condemned, then pairs: a pack, and
-- ordinals with commas between.
if life() ~= ARGV[4] then return { 0, 0 } end
redis.call('HLEN', packs)
local freed = 0
for n = 6, #ARGV, 2 do
  local pack = ARGV[n]
  local entry = condemned_of(pack)
  if entry and entry:sub(9, 24) <= ARGV[5] then
    local listed, left, gone, dead = entry:sub(25), {}, {}, {}
    for ordinal in ARGV[n + 1]:gmatch('%d+') do dead[ordinal] = true end
    local function look(ordinal)
      if dead[ordinal] then
        gone[#gone + 1] = pack .. struct.pack('>I4', tonumber(ordinal))
      else
        left[#left + 1] = ordinal
      end
    end
    if listed:sub(1, 1) == '*' then
      for ordinal = 0, tonumber(listed:sub(2)) - 1 do look(string.format('%d', ordinal)) end
    else
      for ordinal in listed:gmatch('%d+') do look(ordinal) end
    end
    for _, field in ipairs(gone) do freed = freed + redis.call('HSTRLEN', packs, field) end
    if #gone > 0 then with_many('HDEL', packs, gone, 1, #gone) end
    local blob = redis.call('HGET', packs, pack)
    if blob and #blob >= 8 then freed = freed + #blob - 8 - struct.unpack('>I4', blob) end
    redis.call('ZREM', condemned, entry)
    if #left == 0 then
      redis.call('HDEL', packs, pack)
    else
      -- Empty, so that a repeat of its commit still finds it.
      redis.call('HSET', packs, pack, '')
      redis.call('ZADD', condemned, 0, entry:sub(1, 24) .. table.concat(left, ','))
    end
  end
end
if freed > 0 then redis.call('HINCRBY', head, 'bytes', -freed) end
redis.call('HINCRBY', head, 'changes', 1)
return { freed, tonumber(redis.call('HGET', head, 'bytes') or 0) }
