package script

import (
	"github.com/streamerson/streamerson-go/redisio"
)

// The scripts below touch one key (dead: two of one slot), check before they act, and use commands
// of Redis 7.0 only. Each command names its key as KEYS and a digit, because some cluster proxies
// refuse other scripts. Each script asks XPENDING for one ID at a time. This is exact whatever
// other entries exist, needs no exclusive ranges, and costs the server about a microsecond.
//
// Scripts are needed because XCLAIM has no "only if mine": a late renewal would steal an entry back
// from its new owner. Every XCLAIM sets RETRYCOUNT, so the delivery count changes only where
// intended. Lua has floating-point numbers, and writes large ones in a form that XCLAIM refuses. So
// 1e15 replaces all larger counts, which XNACK FATAL makes.

// scriptTake: ARGV group, me, bump, most deliveries or 0, pool, idle ms, ids… Takes ids that are
// pending for me, or for the pool and idle for at least idle ms. Returns [id, fields, deliveries]
// each. The fields of a trimmed entry are false, and it is acked. An empty pool is deleted.
const ScriptTake = luaDeliver + `
local g, me, bump, most = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])
local pool, idle, out, emptied = ARGV[5], tonumber(ARGV[6]), {}, false
for i = 7, #ARGV do
  local p = redis.call('XPENDING', KEYS[1], g, ARGV[i], ARGV[i], 1)[1]
  if p and (p[2] == me or p[2] == pool and p[3] >= idle) then
    local count, n = math.min(p[4], 1e15), p[4]
    if bump then count, n = deliver(p[4], most) end
    emptied = emptied or p[2] == pool
    local e = redis.call('XCLAIM', KEYS[1], g, me, 0, ARGV[i], 'RETRYCOUNT', count)
    if e[1] then out[#out+1] = {e[1][1], e[1][2], n}
    else redis.call('XACK', KEYS[1], g, ARGV[i]); out[#out+1] = {ARGV[i], false, n} end
  end
end
if emptied and not redis.call('XPENDING', KEYS[1], g, '-', '+', 1, pool)[1] then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], g, pool)
end
return out`

// scriptPark: ARGV group, me, pool, then id, idle ms, deliveries, undo and "1" for the pool or "2" for the
// suspects in turn. Sets the idle time of entries that are pending for me, and moves those for a pool
// to it. undo is the number of the delivery that does not count, or 0. Entries that are in the pool
// already stay as they are. Entries that are not pending are made pending again, with these deliveries
// unless they are 0.
// Returns pairs of id and code for the entries that were not as expected, see ParkLost and the others.
const ScriptPark = LuaLess + `
local g, me, pool = ARGV[1], ARGV[2], ARGV[3]
local out, last = {}, nil
local function note(id, code) out[#out+1] = id; out[#out+1] = code end
for i = 4, #ARGV, 5 do
  local id, idle, n, undo = ARGV[i], ARGV[i+1], math.min(tonumber(ARGV[i+2]), 1e15), tonumber(ARGV[i+3])
  local to = me
  if ARGV[i+4] == '1' then to = pool elseif ARGV[i+4] == '2' then to = '` + redisio.SuspectsConsumer + `' end
  local p = redis.call('XPENDING', KEYS[1], g, id, id, 1)[1]
  if p and p[2] == me then
    local count = math.min(p[4], 1e15)
    if undo > 0 then count = math.min(count, undo - 1) end
    if not redis.call('XCLAIM', KEYS[1], g, to, 0, id, 'IDLE', idle, 'RETRYCOUNT', count, 'JUSTID')[1] then note(id, 4) end
  elseif p and p[2] == to then
  elseif p then note(id, 1)
  elseif n == 0 then note(id, 2)
  else
    if not last then
      for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
        local f = {}
        for j = 1, #group, 2 do f[group[j]] = group[j+1] end
        if f['name'] == g then last = f['last-delivered-id'] end
      end
    end
    if less(last, id) then note(id, 5)
    elseif redis.call('XCLAIM', KEYS[1], g, to, 0, id, 'FORCE', 'IDLE', idle, 'RETRYCOUNT', n, 'JUSTID')[1] then
      note(id, 3)
    else note(id, 4) end
  end
end
return out`

// The codes of ScriptPark.
const (
	ParkLost          = 1 // pending for another consumer
	ParkUnowned       = 2 // pending for no consumer, and not to be restored
	ParkRestored      = 3 // was pending for no consumer, and is pending again
	ParkDeleted       = 4 // no longer in the stream
	ParkRedeliverable = 5 // pending for no consumer, and after the position of the group
)

// scriptAck: ARGV group, me, ids… Acks the entries that are pending for me. Returns their number,
// and the number of entries pending for another consumer.
const ScriptAck = `
local g, me, acked, late = ARGV[1], ARGV[2], 0, 0
for i = 3, #ARGV do
  local p = redis.call('XPENDING', KEYS[1], g, ARGV[i], ARGV[i], 1)[1]
  if p and p[2] == me then acked = acked + redis.call('XACK', KEYS[1], g, ARGV[i])
  elseif p then late = late + 1 end
end
return {acked, late}`

// scriptDead: KEYS stream, dead stream. ARGV group, me, id, maxlen, live, extra names and values…
// If the entry is pending for me, copies it with its extra fields, then acks it. Returns 1, plus
// one for each old letter that was dropped; 0 if the entry is not pending; and -2 if it is pending
// for another consumer. With live "1", an entry that is not pending means that the pending list was
// lost, or that this call is a repetition. Then it is copied unless its letter is among the last
// thousand. The type of the dead stream is checked first, because a script that fails halfway keeps
// what it wrote. Lua passes at most 8000 values: for an entry with more, the script does nothing
// and returns -1.
const ScriptDead = `
local g, me, id, maxlen, live = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local t = redis.call('TYPE', KEYS[2])['ok']
if t ~= 'none' and t ~= 'stream' then return redis.error_reply('WRONGTYPE the dead-letter key holds a '..t) end
local p = redis.call('XPENDING', KEYS[1], g, id, id, 1)[1]
if p and p[2] ~= me then return -2 end
if not p and not live then return 0 end
if not p then
  local to = '+'
  for page = 1, 10 do
    local letters = redis.call('XREVRANGE', KEYS[2], to, '-', 'COUNT', 100)
    for _, l in ipairs(letters) do
      local is, by = false, true
      for i = 1, #l[2], 2 do
        if l[2][i] == 'dead:id' then is = l[2][i+1] == id elseif l[2][i] == 'dead:group' then by = l[2][i+1] == g end
      end
      if is and by then return 0 end
      to = '('..l[1]
    end
    if #letters < 100 then break end
  end
end
local a = {}
if maxlen ~= '0' then a[#a+1] = 'MAXLEN'; a[#a+1] = '~'; a[#a+1] = maxlen end
a[#a+1] = '*'
local e = redis.call('XRANGE', KEYS[1], id, id)
if e[1] then for _, v in ipairs(e[1][2]) do a[#a+1] = v end end
for i = 6, #ARGV do a[#a+1] = ARGV[i] end
if #a > 7900 then return -1 end
local dropped = 0
if e[1] or #ARGV > 5 then -- of a trimmed entry without extra fields nothing is left to keep
  dropped = redis.call('XLEN', KEYS[2]) + 1
  redis.call('XADD', KEYS[2], unpack(a))
  dropped = dropped - redis.call('XLEN', KEYS[2])
end
redis.call('XACK', KEYS[1], g, id)
return 1 + dropped`

// scriptLeave: ARGV group, me. Deletes a consumer that has nothing pending. Otherwise XGROUP
// DELCONSUMER would drop its pending entries, and they would never be delivered again.
const ScriptLeave = `
if redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])[1] then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1`

// scriptReap: ARGV group, names… Deletes the consumers of these names that have nothing pending.
// Returns how many it deleted. The caller bounds the number of names.
const scriptReap = `
local n = 0
for i = 2, #ARGV do
  if not redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[i])[1] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[i])
    n = n + 1
  end
end
return n`
