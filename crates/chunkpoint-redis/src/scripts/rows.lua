-- The records that were members at some moment, removed since or not. ARGV: 4 incarnation,
-- 5 detail, then members, each after `v` or `h`.
if life() ~= ARGV[4] then return { false } end
local found, detail = { ARGV[4] }, tonumber(ARGV[5])
for n = 6, #ARGV do
  local member = ARGV[n]:sub(2)
  found[#found + 1] = row(member, ARGV[n]:sub(1, 1) == 'h', detail) or member
end
return found
