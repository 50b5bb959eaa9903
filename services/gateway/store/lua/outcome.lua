-- KEYS[2]: the answer, empty until there is one; it outlives the session for a while
local answer = redis.call('GET', KEYS[2]) or ''
if answer == '' and not alive() then
  return { 'gone' }
end
return { 'ok', answer }
