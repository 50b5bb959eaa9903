-- KEYS[2]: interruptions that were asked for; KEYS[3]: the answer to this one.
-- ARGV: request, ms that it waits, ms that its name is kept, how many may wait, '1' if it has no name
if not alive() then
  return { 'gone' }
end
if ARGV[5] ~= '1' and redis.call('EXISTS', KEYS[3]) == 1 then
  return { 'ok' }
end
redis.call('SET', KEYS[3], '', 'PX', ARGV[3])
redis.call('RPUSH', KEYS[2], cmsgpack.pack({ now + tonumber(ARGV[2]), ARGV[1] }))
redis.call('LTRIM', KEYS[2], '-' .. ARGV[4], -1)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return { 'ok' }
