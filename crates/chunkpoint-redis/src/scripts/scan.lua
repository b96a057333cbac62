-- A page of rows in the order of their keys. ARGV: 1 where to begin, as a bound, 2 how many,
-- 3 after how many bytes to stop. Answers keys and rows, and whether there may be more.
local keys = redis.call('ZRANGE', order, ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2])
local found, bytes, most = {}, 0, tonumber(ARGV[3])
for n, key in ipairs(keys) do
  local row = redis.call('HGET', items, key)
  if row then
    found[#found + 1] = key
    found[#found + 1] = row
    bytes = bytes + #row
    if bytes >= most then return { found, 1 } end
  end
end
return { found, #keys == tonumber(ARGV[2]) and 1 or 0 }
