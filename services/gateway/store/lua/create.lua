-- KEYS[2]: the request; KEYS[3]: the index, sessions of one API key by the time of their creation; KEYS[4]: the asset.
-- ARGV: setting, state, ttl, life in all, linger, margin, name, created, what keys of sessions begin with,
-- arrays. Names the session that the request made before, if it lives. The keys of other sessions are
-- built here, which a Redis Cluster would not have.
local other = redis.call('GET', KEYS[2])
if other and other ~= ARGV[7] then
  local expires = redis.call('HGET', ARGV[9] .. other, 'expires')
  if expires and tonumber(expires) > now then
    return { 'known', other }
  end
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- The first answer may have been lost on its way.
  return { get('setting') == ARGV[1] and get('expires') and 'ok' or 'taken', get('expires') }
end
if redis.call('EXISTS', KEYS[4]) == 0 then
  return { 'asset' }
end
-- By this server's clock, like every other end: gateways may be wrong about the time.
local last = text(now + tonumber(ARGV[4]))
put_arrays(10)
set('setting', ARGV[1], 'state', ARGV[2], 'fence', '0', 'owner', '', 'turn', '0')
set('ttl', ARGV[3], 'last', last, 'linger', ARGV[5], 'margin', ARGV[6], 'portrait', KEYS[4])
set('index', KEYS[3])
redis.call('SET', KEYS[2], ARGV[7], 'PXAT', last)
redis.call('ZADD', KEYS[3], ARGV[8], ARGV[7])
-- Names of sessions that ended by themselves: two looked at for each one that comes, so that they
-- cannot pile up.
for _, name in ipairs(redis.call('ZRANDMEMBER', KEYS[3], 2)) do
  if redis.call('EXISTS', ARGV[9] .. name) == 0 then
    redis.call('ZREM', KEYS[3], name)
  end
end
refresh()
return { 'ok', get('expires') }
