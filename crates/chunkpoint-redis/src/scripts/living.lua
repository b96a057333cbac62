-- The life of a namespace, and how many of its items have not expired. ARGV: 1 now.
local expired = redis.call('ZCOUNT', expiring, '-inf', ARGV[1])
return { redis.call('HGET', head, 'life'), redis.call('ZCARD', order) - expired }
