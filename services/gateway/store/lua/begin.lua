-- ARGV: fence, turn, plan, arrays
local why = refused(ARGV[1])
if why then
  return why
end
if overtaken(ARGV[2]) then
  return { 'ok' }
end
if not put_arrays(4) then
  return { 'missing' }
end
set('plan', ARGV[3], 'turn', ARGV[2])
refresh()
return { 'ok' }
