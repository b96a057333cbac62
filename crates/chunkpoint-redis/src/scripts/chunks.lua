-- Reads chunks. ARGV: 4 incarnation, then fields.
if life() ~= ARGV[4] then return { false } end
was_read()
local found = {}
for first = 5, #ARGV, 4000 do
  local part = redis.call('HMGET', packs, unpack(ARGV, first, math.min(first + 3999, #ARGV)))
  if first == 5 and #ARGV <= 4004 then
    found = part
  else
    for _, value in ipairs(part) do found[#found + 1] = value end
  end
end
return { ARGV[4], found }
