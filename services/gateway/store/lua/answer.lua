-- KEYS[2]: the answer. ARGV: outcome, ms that it is kept
if not alive() then
  return { 'gone' }
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return { 'ok' }
