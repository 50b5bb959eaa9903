-- Put before every script that works on a session. Times are in ms of the server's clock.
-- KEYS[1], the session, is a hash:
--   setting, state, plan    messages of state.proto; plan only while a chunk is begun
--   a<digest>               the arrays that they refer to
--   fence, owner, seen      who has taken it, and when that one was heard of last
--   turn                    the newest write of that owner
--   ttl, last, linger       life without a write; end whatever happens; how long a tombstone stays
--   portrait, margin        key of the asset; how much longer it lives than the session
--   scene                   key of the asset with the newest prompt, once there was an update
--   index                   key of the sorted set in which it is listed
--   expires                 end as things are; missing in a tombstone
--   claim, beat, given      the calls that claimed and collected last, and what was collected
--   gone                    the call that deleted it: this is a tombstone
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function text(number)
  return string.format('%.0f', number)
end

local function get(field)
  return redis.call('HGET', KEYS[1], field)
end

local function set(...)
  redis.call('HSET', KEYS[1], ...)
end

local function alive()
  local expires = get('expires')
  return expires and tonumber(expires) > now
end

local function refresh()
  local expires = math.min(now + tonumber(get('ttl')), tonumber(get('last')))
  set('expires', text(expires), 'seen', text(now))
  redis.call('PEXPIREAT', KEYS[1], text(expires + tonumber(get('linger'))))
  -- The assets outlive every session that needs them.
  local until_ms = expires + tonumber(get('margin'))
  for _, name in ipairs({ 'portrait', 'scene' }) do
    local asset = get(name)
    if asset and now + redis.call('PTTL', asset) < until_ms then
      redis.call('PEXPIREAT', asset, text(until_ms))
    end
  end
end

-- Why a write under this fence is refused, if it is.
local function refused(fence)
  if not alive() then
    return { 'gone' }
  end
  if get('fence') ~= fence then
    return { 'lost' }
  end
end

-- Whether this write was made already, or a later one of the same owner: a call that was given up may
-- still be on its way here.
local function overtaken(turn)
  return tonumber(get('turn')) >= tonumber(turn)
end

-- Arrays from ARGV[first] on: how many are referred to, their digests, then digest and contents of
-- each that is sent. False, and nothing is written, if one is neither sent nor here.
local function put_arrays(first)
  local count, sent, wanted = tonumber(ARGV[first]), {}, {}
  for i = first + count + 1, #ARGV, 2 do
    sent[ARGV[i]] = ARGV[i + 1]
  end
  for i = first + 1, first + count do
    wanted['a' .. ARGV[i]] = true
    if not sent[ARGV[i]] and redis.call('HEXISTS', KEYS[1], 'a' .. ARGV[i]) == 0 then
      return false
    end
  end
  for digest, contents in pairs(sent) do
    set('a' .. digest, contents)
  end
  return wanted
end

local function drop_arrays(wanted)
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 1) == 'a' and not wanted[field] then
      redis.call('HDEL', KEYS[1], field)
    end
  end
end

-- What is known of the session, with or without its arrays.
local function record(light)
  if light ~= '1' then
    return { 'ok', redis.call('HGETALL', KEYS[1]) }
  end
  local fields = {}
  for _, name in ipairs({ 'setting', 'state', 'plan', 'fence', 'owner', 'expires' }) do
    fields[#fields + 1] = name
    fields[#fields + 1] = get(name)
  end
  return { 'ok', fields }
end
