-- ARGV: fence
local why = refused(ARGV[1])
if why then
  return why
end
set('owner', '')
refresh()
return { 'ok' }
