-- The calls of a name that has no record: ARGV: 4 incarnation, 5 name. With 6, the calls as
-- they were read, and then pairs of write id and what is left of the call (nothing: all of
-- it goes), these are written back, unless something has changed.
local name = ARGV[5]
if life() ~= ARGV[4] or member_of(name) then return { false } end
local list = redis.call('HGET', writes, 'c' .. name) or ''
if #ARGV == 5 then
  local wrote = {}
  for n, call in ipairs(calls_of(name)) do
    wrote[n] = redis.call('HGET', writes, 'w' .. call .. name) or ''
  end
  return { list, wrote }
end
if list ~= ARGV[6] then return { false } end
local kept, at = {}, 1
for n = 7, #ARGV, 2 do
  local field = 'w' .. ARGV[n] .. name
  if ARGV[n + 1] == '' then
    redis.call('HDEL', writes, field)
  else
    redis.call('HSET', writes, field, ARGV[n + 1])
    kept[#kept + 1] = list:sub(at, at + 23)
  end
  at = at + 24
end
if #kept == 0 then
  redis.call('HDEL', writes, 'c' .. name)
else
  redis.call('HSET', writes, 'c' .. name, table.concat(kept))
end
return { list }
