-- Answers whether the index may forget a life: ARGV: 4 incarnation. A commit that was about
-- to start it is refused from now on.
local current = life()
if current == ARGV[4] then return 0 end
if not current then
  check_types()
  drop()
  redis.call('HSET', head, 'refused', ARGV[4])
  redis.call('PEXPIRE', head, 24 * MARGIN)
end
return 1
