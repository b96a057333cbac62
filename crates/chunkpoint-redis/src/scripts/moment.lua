-- A page of the members of both orders. ARGV: 4 `*`, or `=` and a namespace, 5 and 6 where to
-- go on in the visible and in the hidden ones (empty: at the beginning; `-`: nowhere), 7 how
-- many of each, or -1.
--
-- As long as `changes` stays the same, no record that an earlier page could have had is gone
-- or elsewhere.
local incarnation = life()
if not incarnation then return { false } end
was_read()
local from, to = '-', '+'
if ARGV[4] ~= '*' then
  local namespace = ARGV[4]:sub(2)
  from, to = '[' .. namespace .. '\0', '(' .. namespace .. '\1'
end
local function page(key, after)
  if after == '-' then return {} end
  if after ~= '' then after = '(' .. after else after = from end
  return redis.call('ZRANGE', key, after, to, 'BYLEX', 'LIMIT', 0, ARGV[7])
end
return {
  incarnation,
  redis.call('HGET', head, 'changes') or '0',
  page(order, ARGV[5]),
  page(hidden, ARGV[6]),
}
