-- ARGV: '1' for a light record
if not alive() then
  return { 'gone' }
end
return record(ARGV[1])
