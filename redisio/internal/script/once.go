package script

// MaxOnceFields bounds the fields of an entry that a script writes: Lua passes at most 8000 values.
const MaxOnceFields = 3900

// scriptOnce: KEYS stream, ids. ARGV window in ms, most ids; then per entry: its dedupe id, its id,
// the number of its values, the values. Returns per entry the id it got, 0 for a duplicate, or an
// error. An entry without a dedupe id is always written.
const ScriptOnce = `
for i, t in ipairs({redis.call('TYPE', KEYS[1])['ok'], redis.call('TYPE', KEYS[2])['ok']}) do
  if t ~= 'none' and t ~= ({'stream', 'zset'})[i] then return redis.error_reply('WRONGTYPE '..KEYS[i]..' holds a '..t) end
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[2], 'XX', now, '') -- does nothing, but is refused without memory: a script that has deleted may write
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1])
local out, i = {}, 3
while i <= #ARGV do
  local id, last = ARGV[i], i + 2 + ARGV[i+2]
  local new = 1
  if id ~= '' then new = redis.pcall('ZADD', KEYS[2], 'NX', now, id) end
  if new == 1 then
    new = redis.pcall('XADD', KEYS[1], ARGV[i+1], unpack(ARGV, i + 3, last))
    if type(new) == 'table' and id ~= '' then redis.call('ZREM', KEYS[2], id) end
  end
  out[#out+1] = new
  i = last + 1
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return out`

// IDMP: KEYS stream. ARGV window in s, most ids of a producer. Sets how much the stream remembers,
// unless it already remembers ids, because another setting would delete them. Returns the last id
// of the stream.
const IDMP = `
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XGROUP', 'CREATE', KEYS[1], 'redisio', '0', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', KEYS[1], 'redisio')
end
local s, f = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #s, 2 do f[s[i]] = s[i+1] end
if f['iids-tracked'] == 0 and (f['idmp-duration'] ~= tonumber(ARGV[1]) or f['idmp-maxsize'] ~= tonumber(ARGV[2])) then
  redis.call('XCFGSET', KEYS[1], 'IDMP-DURATION', ARGV[1], 'IDMP-MAXSIZE', ARGV[2])
end
return f['last-generated-id']`
