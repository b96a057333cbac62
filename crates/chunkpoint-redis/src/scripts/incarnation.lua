-- The current incarnation, and whether it has a visible record.
local incarnation = life()
if not incarnation then return { false } end
return { incarnation, redis.call('ZCARD', order) }
