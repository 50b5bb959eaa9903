-- KEYS[2]: interruptions that were asked for; KEYS[3]: the index of sessions that do not name theirs.
-- ARGV: name of this call, ms that the tombstone stays, name of the session
local gone, fence = get('gone'), get('fence')
if gone then
  return gone == ARGV[1] and 1 or 0
end
if not alive() then
  return 0
end
redis.call('ZREM', get('index') or KEYS[3], ARGV[3])
redis.call('DEL', KEYS[1], KEYS[2])
set('gone', ARGV[1], 'fence', fence)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
