-- KEYS[2]: interruptions that were asked for. ARGV: fence, name of this call
local fence = get('fence')
if not fence then
  return { 'gone' }
end
if fence ~= ARGV[1] then
  return { 'lost' }
end
if not alive() then
  return { 'ok', 1 }
end
refresh()
local given = {}
if get('beat') == ARGV[2] then
  -- The answer was lost on its way: the same once more.
  given = cmsgpack.unpack(get('given'))
else
  for _, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    local until_ms, request = unpack(cmsgpack.unpack(entry))
    if until_ms > now then
      given[#given + 1] = request
    end
  end
  redis.call('DEL', KEYS[2])
  if #given > 0 then
    set('beat', ARGV[2], 'given', cmsgpack.pack(given))
  end
end
return { 'ok', 0, unpack(given) }
