package script

// luaNow: now is the server's time in ms.
const luaNow = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)`

// ViewClaim makes a process the writer of a part of a build: KEYS state. ARGV owner, lease in ms,
// position to start from, position of dropped builds. Returns "mine" with the position and the number
// of events, "busy" with the time left in ms, or "dropped".
const ViewClaim = luaNow + `
local s = redis.call('HMGET', KEYS[1], 'pos', 'n', 'owner', 'until')
if s[1] == ARGV[4] then return {'dropped'} end
if s[3] and s[3] ~= ARGV[1] and tonumber(s[4]) > now then return {'busy', tonumber(s[4]) - now} end
redis.call('HSET', KEYS[1], 'pos', s[1] or ARGV[3], 'n', s[2] or 0, 'owner', ARGV[1], 'until', now + ARGV[2])
return {'mine', s[1] or ARGV[3], tonumber(s[2] or 0)}`

// ViewRelease ends a claim: KEYS state. ARGV owner.
const ViewRelease = `
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'owner', 'until')`

// ViewPause refuses commits of a build for a while: KEYS state. ARGV time in ms. Returns the position, or "".
const ViewPause = luaNow + `
redis.call('HSET', KEYS[1], 'paused', now + ARGV[1])
return redis.call('HGET', KEYS[1], 'pos') or ''`

// ViewCommit writes changes and moves the position, if the position is the expected one: KEYS state,
// keys, log, and a key for each row. ARGV owner, token, expected and new position, number of events,
// lease in ms; then per change: its command, the number of its key, the number of its arguments, and
// the arguments. Returns "ok", "again" if this commit has been made before, "moved" with the position,
// "paused", or "wrong" with a key and a problem. It is "moved" too if the log lacks the new position:
// the changes were computed from events that a failover has lost. It checks all types first, because a
// script that fails halfway keeps what it wrote.
const ViewCommit = luaNow + `
local s = redis.call('HMGET', KEYS[1], 'pos', 'token', 'owner', 'paused')
if s[1] == ARGV[4] and s[2] == ARGV[2] then return {'again'} end
if s[1] ~= ARGV[3] or not redis.call('XRANGE', KEYS[3], ARGV[4], ARGV[4])[1] then return {'moved', s[1] or ''} end
if s[4] and tonumber(s[4]) > now then return {'paused'} end
local type_of = {HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash', RPUSH = 'list', LTRIM = 'list',
  ZADD = 'zset', ZREM = 'zset'}
local cleared, i = {}, 7
while i <= #ARGV do
  local op, k = ARGV[i], tonumber(ARGV[i+1])
  local want = type_of[op]
  if op == 'DEL' then cleared[k] = true
  elseif not want then return {'wrong', KEYS[3+k], 'has the unknown change '..op}
  elseif not cleared[k] then
    local have = redis.call('TYPE', KEYS[3+k])['ok']
    if have ~= 'none' and have ~= want then
      return {'wrong', KEYS[3+k], 'holds a '..have..', and '..op..' needs a '..want}
    end
    if op == 'HINCRBY' then
      local v = redis.call('HGET', KEYS[3+k], ARGV[i+3])
      if v and (#v > 17 or not string.match(v, '^%-?%d+$')) then
        return {'wrong', KEYS[3+k], 'has a field that HIncrBy cannot add to'}
      end
    end
  end
  i = i + 3 + ARGV[i+2]
end
redis.call('HSET', KEYS[1], 'pos', ARGV[4], 'token', ARGV[2])
if s[3] == ARGV[1] then redis.call('HSET', KEYS[1], 'until', now + ARGV[6]) end
redis.call('HINCRBY', KEYS[1], 'n', ARGV[5])
i = 7
while i <= #ARGV do
  local n = tonumber(ARGV[i+2])
  redis.call(ARGV[i], KEYS[3 + ARGV[i+1]], unpack(ARGV, i + 3, i + 2 + n))
  i = i + 3 + n
end
for k = 4, #KEYS do
  if redis.call('EXISTS', KEYS[k]) == 1 then redis.call('SADD', KEYS[2], KEYS[k])
  else redis.call('SREM', KEYS[2], KEYS[k]) end
end
return {'ok'}`

// ViewBegin begins a build: KEYS builds. ARGV version, "1" for a rebuild of the same or any version,
// and a token, by which a repeated call finds its build. The first build becomes live at once. Without
// "1", a build begins only if the live one has a lower version. Returns the build, or "" if there is
// nothing to begin.
const ViewBegin = luaNow + `
local b = redis.call('HMGET', KEYS[1], 'live', 'next', 'by')
if b[3] == ARGV[3] then return b[2] or b[1] end
local function version(of) return tonumber(string.match(of, '^(%d+)%.')) end
local mine = tonumber(ARGV[1])
if b[1] and ARGV[2] ~= '1' and version(b[1]) >= mine then return '' end
if b[2] and (ARGV[2] == '1' or version(b[2]) >= mine) then return '' end
if b[2] then redis.call('HSET', KEYS[1], 'old:'..b[2], now) end
local build = ARGV[1]..'.'..redis.call('HINCRBY', KEYS[1], 'made', 1)
redis.call('HSET', KEYS[1], b[1] and 'next' or 'live', build, 'by', ARGV[3])
return build`

// ViewSwitch makes the next build live, or gives it up: KEYS builds. ARGV build, grace in ms, "1" to
// make it live. Returns whether it was the next one.
const ViewSwitch = luaNow + `
local b = redis.call('HMGET', KEYS[1], 'live', 'next')
if b[2] ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'next')
if ARGV[3] ~= '1' then
  redis.call('HSET', KEYS[1], 'old:'..b[2], now + ARGV[2])
  return 1
end
if b[1] then redis.call('HSET', KEYS[1], 'old:'..b[1], now + ARGV[2]) end
redis.call('HSET', KEYS[1], 'live', b[2])
return 1`

// ViewDue returns the builds that are no longer needed: KEYS builds.
const ViewDue = luaNow + `
local out, f = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #f, 2 do
  local build = string.match(f[i], '^old:(.+)$')
  if build and tonumber(f[i+1]) <= now then out[#out+1] = build end
end
return out`
