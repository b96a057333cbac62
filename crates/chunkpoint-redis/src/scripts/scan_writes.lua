-- Names that have pending writes and no record. ARGV: 4 incarnation, 5 cursor.
if life() ~= ARGV[4] then return { '0', {} } end
local page = redis.call('HSCAN', writes, ARGV[5], 'MATCH', 'c*', 'COUNT', 100)
local found = {}
for n = 1, #page[2], 2 do
  local name = page[2][n]:sub(2)
  if not member_of(name) then found[#found + 1] = name end
end
return { page[1], found }
