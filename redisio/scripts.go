package redisio

// The scripts below touch one key (dead: two of one slot), check before they act, and use commands of
// Redis 7.0 only. Each asks XPENDING for one ID at a time: that is exact whatever lies between, needs no
// exclusive ranges, and costs the server about a microsecond.
//
// XCLAIM has no "only if mine", so a late renewal would steal an entry back from its new owner: hence
// scripts. Every XCLAIM sets RETRYCOUNT, so the delivery count changes only where it is meant to.

// scriptTake: ARGV group, me, bump, ids… Takes ids that are pending for me and returns [id, fields,
// deliveries] each; fields are false when the entry was trimmed, and then it is acked.
const scriptTake = `
local k, g, me, bump, out = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), {}
for i = 4, #ARGV do
  local p = redis.call('XPENDING', k, g, ARGV[i], ARGV[i], 1, me)
  if p[1] then
    local n = p[1][4] + bump
    local e = redis.call('XCLAIM', k, g, me, 0, ARGV[i], 'RETRYCOUNT', n)
    if e[1] then out[#out+1] = {e[1][1], e[1][2], n}
    else redis.call('XACK', k, g, ARGV[i]); out[#out+1] = {ARGV[i], false, n} end
  end
end
return out`

// scriptPark: ARGV group, me, then id and idle ms in turn. Sets the idle time of entries that are
// pending for me and returns the ids that are not.
const scriptPark = `
local k, g, me, lost = KEYS[1], ARGV[1], ARGV[2], {}
for i = 3, #ARGV, 2 do
  local p = redis.call('XPENDING', k, g, ARGV[i], ARGV[i], 1, me)
  if p[1] then redis.call('XCLAIM', k, g, me, 0, ARGV[i], 'IDLE', ARGV[i+1], 'RETRYCOUNT', p[1][4], 'JUSTID')
  else lost[#lost+1] = ARGV[i] end
end
return lost`

// scriptRestore: ARGV group, me, ids… Puts entries back into a group that was made again, unless
// somebody has them pending. Returns the ids that could not be restored.
const scriptRestore = `
local k, g, me, gone = KEYS[1], ARGV[1], ARGV[2], {}
for i = 3, #ARGV do
  local p = redis.call('XPENDING', k, g, ARGV[i], ARGV[i], 1)
  if p[1] then if p[1][2] ~= me then gone[#gone+1] = ARGV[i] end
  elseif redis.call('XRANGE', k, ARGV[i], ARGV[i])[1] == nil then gone[#gone+1] = ARGV[i]
  else redis.call('XCLAIM', k, g, me, 0, ARGV[i], 'FORCE', 'RETRYCOUNT', 1, 'JUSTID') end
end
return gone`

// scriptDead: KEYS stream, dead stream. ARGV group, id, maxlen, extra names and values… Copies the entry
// and its extra fields, then acks it, if it is pending for anybody; returns 1 if it was. The type of
// the dead stream is checked first: a script that fails halfway keeps what it wrote. Lua hands over 8000
// values at most: of an entry with more, nothing is done and the answer is -1.
const scriptDead = `
local g, id, maxlen = ARGV[1], ARGV[2], ARGV[3]
local t = redis.call('TYPE', KEYS[2])['ok']
if t ~= 'none' and t ~= 'stream' then return redis.error_reply('WRONGTYPE the dead-letter key holds a '..t) end
if redis.call('XPENDING', KEYS[1], g, id, id, 1)[1] == nil then return 0 end
local a = {'XADD', KEYS[2]}
if maxlen ~= '0' then a[#a+1] = 'MAXLEN'; a[#a+1] = '~'; a[#a+1] = maxlen end
a[#a+1] = '*'
local e = redis.call('XRANGE', KEYS[1], id, id)
if e[1] then for _, v in ipairs(e[1][2]) do a[#a+1] = v end end
for i = 4, #ARGV do a[#a+1] = ARGV[i] end
if #a > 7900 then return -1 end
if e[1] or #ARGV > 3 then redis.call(unpack(a)) end -- of a trimmed entry without extra fields nothing is left to keep
redis.call('XACK', KEYS[1], g, id)
return 1`

// scriptLeave: ARGV group, me. Deletes a consumer that has nothing pending: XGROUP DELCONSUMER would
// drop what it has, never to be delivered again.
const scriptLeave = `
if redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])[1] then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1`

// scriptReap: ARGV group, me, idle ms. Deletes consumers of the past: nothing pending, idle for long.
const scriptReap = `
local n = 0
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local f = {}
  for i = 1, #c, 2 do f[c[i]] = c[i+1] end
  if f['name'] ~= ARGV[2] and f['pending'] == 0 and f['idle'] >= tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], f['name'])
    n = n + 1
  end
end
return n`
