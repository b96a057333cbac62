-- Answers whether the index may forget a life: ARGV: 4 incarnation. A commit that was about
-- to start it is refused from now on.
local current = life()
if current == ARGV[4] then return 0 end
if not current then
  check_types()
  drop()
  redis.call('HSET', head, 'refused', with_refused(redis.call('HGET', head, 'refused'), ARGV[4]))
  redis.call('PEXPIRE', head, REFUSED_FOR)
end
return 1
