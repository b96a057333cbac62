-- Puts an entry into an index. KEYS: the shard. ARGV: the entry. One that is there is put
-- there anew: `WAIT` waits for what its own connection wrote last.
if redis.call('ZADD', KEYS[1], 0, ARGV[1]) == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
end
return 1
