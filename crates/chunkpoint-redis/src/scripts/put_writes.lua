-- Stores the writes of one call. ARGV: 4 namespace, 5 id, 6 write id, 7 the incarnation to
-- start, 8 time, 9 whether the thread is in the index, 10 the writes.
local name = ARGV[4] .. '\0' .. ARGV[5]
local call = 'w' .. ARGV[6] .. name
if not life() then
  local past = redis.call('HMGET', head, 'ended', 'refused')
  if past[1] == ARGV[7] then return 'done' end
  if is_refused(past[2], ARGV[7]) then return 'refused' end
  if ARGV[9] == '0' then return 'index' end
  check_types()
  start(ARGV[7])
elseif redis.call('HEXISTS', writes, call) == 1 then
  repeated()
  return 'done'
end
local list = redis.call('HGET', writes, 'c' .. name) or ''
redis.call('HSET', writes, call, ARGV[10], 'c' .. name, list .. ARGV[6] .. ARGV[8])
written()
return 'done'
