-- ARGV: fence, turn, state, plan or nothing, arrays of both
local why = refused(ARGV[1])
if why then
  return why
end
if overtaken(ARGV[2]) then
  return { 'ok' }
end
local wanted = put_arrays(5)
if not wanted then
  return { 'missing' }
end
set('state', ARGV[3], 'turn', ARGV[2])
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[1], 'plan')
else
  set('plan', ARGV[4])
end
drop_arrays(wanted)
refresh()
return { 'ok' }
