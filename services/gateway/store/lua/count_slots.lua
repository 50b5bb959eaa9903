-- KEYS[1]: a worker's leases. ARGV: a session. Returns how many there are, and whether it has one.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
local count = redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
return { count, held and tonumber(held) > now and 1 or 0 }
