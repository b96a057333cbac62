-- Reads condemned packs in the order of their ids. ARGV: 4 the last one known, or nothing,
-- 5 how many.
local incarnation = life()
if not incarnation then return { false } end
local from = '-'
if ARGV[4] ~= '' then from = '(' .. ARGV[4] .. ':' end
return { incarnation, redis.call('ZRANGE', condemned, from, '+', 'BYLEX', 'LIMIT', 0, ARGV[5]) }
