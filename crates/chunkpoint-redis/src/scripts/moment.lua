-- The members of both orders at one moment. ARGV: 4 `*`, or `=` and a namespace.
local incarnation = life()
if not incarnation then return { false } end
was_read()
local from, to = '-', '+'
if ARGV[4] ~= '*' then
  local namespace = ARGV[4]:sub(2)
  from, to = '[' .. namespace .. '\0', '(' .. namespace .. '\1'
end
return {
  incarnation,
  redis.call('ZRANGE', order, from, to, 'BYLEX'),
  redis.call('ZRANGE', hidden, from, to, 'BYLEX'),
}
