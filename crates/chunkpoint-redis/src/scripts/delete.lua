-- Ends a life. ARGV: 4 incarnation. That it has ended is remembered for a while: a repeat
-- of the commit that started it then does not start it again.
local current = redis.call('HGET', head, 'incarnation')
if current ~= ARGV[4] then
  if redis.call('HGET', head, 'ended') == ARGV[4] then redis.call('HSET', head, 'ended', ARGV[4]) end
  return 0
end
check_types()
drop()
redis.call('HSET', head, 'ended', current)
redis.call('PEXPIRE', head, REFUSED_FOR)
return 1
