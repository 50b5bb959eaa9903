-- ARGV: owner, '1' to replace another, ms after which an owner is overdue, name of this call
if not alive() then
  return { 'gone' }
end
if get('claim') ~= ARGV[4] then
  local overdue = now - tonumber(get('seen')) >= tonumber(ARGV[3])
  if get('owner') ~= '' and ARGV[2] ~= '1' and not overdue then
    return { 'busy' }
  end
  redis.call('HINCRBY', KEYS[1], 'fence', 1)
  set('owner', ARGV[1], 'claim', ARGV[4], 'turn', '0')
end
refresh()
return record('0')
