-- KEYS: of one API key, its sessions by the time of their creation; those that are being made, by the ms
-- at which nobody believes that any more; those that were begun, by the ms when.
-- ARGV: session, how many may be open, how many begun within the time, ms of being made, ms of that time,
-- what keys of sessions begin with. 0 stands for any number.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local most, rate = tonumber(ARGV[2]), tonumber(ARGV[3])

local function text(number)
  return string.format('%.0f', number)
end

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now - tonumber(ARGV[5])))
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  -- The first answer was lost on its way.
  return { 'ok', 0 }
end
if most > 0 then
  local open = redis.call('ZCARD', KEYS[2])
  for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local expires = redis.call('HGET', ARGV[6] .. name, 'expires')
    if not expires or tonumber(expires) <= now then
      redis.call('ZREM', KEYS[1], name)
    elseif not redis.call('ZSCORE', KEYS[2], name) then
      open = open + 1
    end
  end
  if open >= most then
    return { 'open', 0 }
  end
end
local begun = redis.call('ZCARD', KEYS[3])
if rate > 0 and begun >= rate then
  local leaves = redis.call('ZRANGE', KEYS[3], begun - rate, begun - rate, 'WITHSCORES')
  return { 'begun', tonumber(leaves[2]) + tonumber(ARGV[5]) - now }
end
redis.call('ZADD', KEYS[2], text(now + tonumber(ARGV[4])), ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[3], text(now), ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return { 'ok', 0 }
