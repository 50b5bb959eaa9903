-- KEYS[2]: the asset with the newest prompt, if it is not that of the setting.
-- ARGV: fence, turn, state, plan or nothing, arrays of both
local why = refused(ARGV[1])
if why then
  return why
end
if overtaken(ARGV[2]) then
  return { 'ok' }
end
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 0 then
  return { 'missing' }
end
local wanted = put_arrays(5)
if not wanted then
  return { 'missing' }
end
set('state', ARGV[3], 'turn', ARGV[2])
if KEYS[2] then
  set('scene', KEYS[2])
end
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[1], 'plan')
else
  set('plan', ARGV[4])
end
drop_arrays(wanted)
refresh()
return { 'ok' }
