-- KEYS[2]: the answer, empty until there is one
if not alive() then
  return { 'gone' }
end
return { 'ok', redis.call('GET', KEYS[2]) or '' }
