-- A page of packs or of writes. ARGV: 4 incarnation, 5 changes, 6 `packs` or `writes`,
-- 7 cursor.
if life() ~= ARGV[4] then return { false } end
if (redis.call('HGET', head, 'changes') or '0') ~= ARGV[5] then return { false } end
local key = packs
if ARGV[6] == 'writes' then key = writes end
return redis.call('HSCAN', key, ARGV[7], 'COUNT', 64)
