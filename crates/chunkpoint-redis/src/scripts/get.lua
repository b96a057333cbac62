-- Reads records. ARGV: 4 detail, then picks: `l` and a namespace, or `a` and a name.
local incarnation = life()
if not incarnation then return { false } end
was_read()
local detail, found = tonumber(ARGV[4]), { incarnation }
for n = 5, #ARGV do
  local what, member, where = ARGV[n]:sub(2), nil, order
  if ARGV[n]:sub(1, 1) == 'l' then
    member = latest_of(what)
  else
    member, where = member_of(what)
  end
  if not member then
    found[#found + 1] = 0
  else
    found[#found + 1] = row(member, where == hidden, detail) or member
  end
end
return found
