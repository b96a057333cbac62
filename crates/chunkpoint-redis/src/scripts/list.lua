-- Reads a page of records of one namespace, newest first. ARGV: 4 detail, 5 namespace, or
-- `*` and nothing else for the only one there is, 6 where to begin, as a bound, 7 how many,
-- 8 whether hidden ones as well.
--
-- Answers `many` if all namespaces were asked for and there are others than the root.
local incarnation = life()
if not incarnation then return { false } end
was_read()
local detail, limit = tonumber(ARGV[4]), tonumber(ARGV[7])
local namespace = ARGV[5]
if namespace == '*' then
  for _, key in ipairs({ order, hidden }) do
    local last = redis.call('ZRANGE', key, '+', '-', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
    if last and last:byte(1) ~= 0 then return { incarnation, 'many' } end
  end
  namespace = ''
else
  namespace = namespace:sub(2)
end
local upper = ARGV[6]
if upper == '' then upper = namespace .. '\1' else upper = namespace .. '\0' .. upper end
local function page(key)
  return redis.call('ZRANGE', key, '(' .. upper, '[' .. namespace .. '\0', 'BYLEX', 'REV', 'LIMIT', 0, limit)
end
local seen, unseen = page(order), {}
if ARGV[8] == '1' then unseen = page(hidden) end
local found, a, b = { incarnation }, 1, 1
while #found <= limit and (seen[a] or unseen[b]) do
  local is_hidden = not seen[a] or (unseen[b] and unseen[b] > seen[a]) or false
  local member
  if is_hidden then
    member, b = unseen[b], b + 1
  else
    member, a = seen[a], a + 1
  end
  found[#found + 1] = row(member, is_hidden, detail) or member
end
return found
