package script

// Gather keeps the state of one gather: what was sent, what has come, and how it ended. All that
// happens to a gather happens in this script, so that any process may do it and may repeat it.
//
// KEYS gather, parts, notices: a hash, and two streams. The hash has the terms (n, need, partial, until,
// most), the counts (sent, done, failed, late, size), and closed. Its fields p0, p1, … have the
// results: a digit, 1 for success, and the data. ARGV operation, id, then:
//
//	open    n, need, partial, within ms, ttl ms, most bytes. Returns {closed, sent, ms left}.
//	send    from, most queued, ttl ms, trace, payloads… Returns {code, sent}.
//	begin   i. Returns {code, ms left}.
//	put     i, ok, data, text for too much. Returns {code}.
//	end     Closes a gather whose time is over. Returns {code, ms left}.
//	cancel  Returns {code}.
//
// The size of the gather does not change how long a call takes: the results are read outside. Late
// parts and the end are not refused by a server without memory, because they make room.
const Gather = `
local op, id = ARGV[1], ARGV[2]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local f = redis.call('HMGET', KEYS[1], 'closed', 'until', 'sent', 'n')
local known, over = f[1], f[1] and (f[1] ~= '' or now >= tonumber(f[2]))
local left = known and math.max(0, f[2] - now) or 0
local function close(why)
  redis.call('HSET', KEYS[1], 'closed', why)
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'id', id)
  redis.call('PEXPIRE', KEYS[3], 3600000)
end
local function late()
  redis.pcall('HINCRBY', KEYS[1], 'late', 1)
  return {2, 0}
end
if op == 'open' then
  if known then return {over and 1 or 0, tonumber(f[3]), left} end
  redis.call('HSET', KEYS[1], 'n', ARGV[3], 'need', ARGV[4], 'partial', ARGV[5], 'until', string.format('%d', now + ARGV[6]),
    'most', ARGV[8], 'sent', 0, 'done', 0, 'failed', 0, 'late', 0, 'size', 0, 'closed', '')
  redis.call('PEXPIRE', KEYS[1], string.format('%d', ARGV[6] + ARGV[7]))
  return {0, 0, tonumber(ARGV[6])}
end
if not known then return {-1, 0} end
if op == 'send' then
  local from, sent = tonumber(ARGV[3]), tonumber(f[3])
  if sent ~= from or over then return {over and 2 or 1, sent} end
  local count, queued = #ARGV - 6, redis.call('XLEN', KEYS[2])
  if from + count > tonumber(f[4]) then return {-2, sent} end
  if queued > 0 and queued + count > tonumber(ARGV[4]) then return {-4, sent} end
  for i = 7, #ARGV do
    local a = {'data', ARGV[i], 'id', id..'.'..string.format('%d', from + i - 7)}
    if ARGV[6] ~= '' then a[5] = 'traceparent'; a[6] = ARGV[6] end
    redis.call('XADD', KEYS[2], '*', unpack(a))
  end
  redis.call('HSET', KEYS[1], 'sent', from + count)
  local ttl = left + ARGV[5] -- gathers with parts in the stream may have more time than this one
  if redis.call('PTTL', KEYS[2]) < ttl then redis.call('PEXPIRE', KEYS[2], string.format('%d', ttl)) end
  return {0, from + count}
elseif op == 'begin' then
  if redis.call('HEXISTS', KEYS[1], 'p'..ARGV[3]) == 1 then return {1, left} end
  if over then return late() end
  return {0, left}
elseif op == 'put' then
  local field, ok, v = 'p'..ARGV[3], ARGV[4], ARGV[5]
  if redis.call('HEXISTS', KEYS[1], field) == 1 then return {1} end
  if over then return late() end
  local n, g = tonumber(f[4]), redis.call('HMGET', KEYS[1], 'need', 'partial', 'most', 'done', 'failed', 'size')
  for i = 1, 6 do g[i] = tonumber(g[i]) end
  local need, partial, most, done, failed, size = unpack(g)
  if tonumber(ARGV[3]) >= n then return {-2} end
  local code = 0
  if ok == '1' and size + #v > most then code, ok, v = 3, '0', ARGV[6] end
  if ok == '0' then v = string.sub(v, 1, 1024) end -- so failures need no part of the bytes
  redis.call('HSET', KEYS[1], field, ok..v)
  if ok == '1' then
    redis.call('HINCRBY', KEYS[1], 'size', #v)
    done = redis.call('HINCRBY', KEYS[1], 'done', 1)
  else failed = redis.call('HINCRBY', KEYS[1], 'failed', 1) end
  if done >= need then close('done')
  elseif done + failed >= n or partial == 0 and failed > n - need then close('failed') end
  return {code}
elseif op == 'cancel' then
  if not over then close('cancelled') end
  return {over and 2 or 0}
end
if not over then return {0, left} end
if f[1] == '' then redis.pcall('HSET', KEYS[1], 'closed', 'expired') end
return {2, 0}`

// The codes of Gather.
const (
	GatherDone    = 0  // the operation was done; the gather is open
	GatherHas     = 1  // it was done before
	GatherOver    = 2  // the gather is closed, or its time is over
	GatherTooMuch = 3  // the result does not fit; the part has failed
	GatherUnknown = -1 // no such gather: it has expired, or never was
	GatherNoPart  = -2 // the gather has no such part
	GatherFull    = -4 // too many parts wait
)

// Arrive counts a participant of a barrier, once. KEYS participants (a set), and a stream that gets
// one entry when all have come. ARGV participant, how many are expected, ttl in ms. Returns how many
// have come, and 1 if this one is too many.
const Arrive = `
local n, most = redis.call('SCARD', KEYS[1]), tonumber(ARGV[2])
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if n >= most then return {n, 1} end
  redis.call('SADD', KEYS[1], ARGV[1])
  n = n + 1
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if n >= most then
  if redis.call('XLEN', KEYS[2]) == 0 then redis.call('XADD', KEYS[2], '*', 'arrived', n) end
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return {n, 0}`

// MarkEnd records the end of a stream for a producer: the last ID that the stream has assigned. KEYS
// stream, marks (a hash). ARGV producer, how many producers there are, ttl in ms. Returns how many
// have marked the end, and 1 if this one is too many.
const MarkEnd = `
local n, most = redis.call('HLEN', KEYS[2]), tonumber(ARGV[2])
if n >= most and redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return {n, 1} end
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local s = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #s, 2 do if s[i] == 'last-generated-id' then last = s[i+1] end end
end
redis.call('HSET', KEYS[2], ARGV[1], last)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {redis.call('HLEN', KEYS[2]), 0}`

// AtEnd reports whether all producers have marked the end of a stream, and a group has settled all
// entries before the marks. It keeps the marks. KEYS stream, marks. ARGV group, how many producers
// there are, ttl in ms. Returns the number of marks, and 1 at the end.
const AtEnd = LuaLess + `
local marks, left = redis.call('HVALS', KEYS[2]), redis.call('PTTL', KEYS[2])
if left >= 0 and left < ARGV[3] / 2 then redis.call('PEXPIRE', KEYS[2], ARGV[3]) end
if #marks < tonumber(ARGV[2]) then return {#marks, 0} end
local last = '0-0'
for _, id in ipairs(marks) do if less(last, id) then last = id end end
if last == '0-0' or redis.call('EXISTS', KEYS[1]) == 0 then return {#marks, 1} end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local g = {}
  for j = 1, #group, 2 do g[group[j]] = group[j+1] end
  if g['name'] == ARGV[1] then
    local at = g['last-delivered-id']
    if less(at, last) and redis.call('XRANGE', KEYS[1], '('..at, last, 'COUNT', 1)[1] then return {#marks, 0} end
    local p = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1)[1]
    return {#marks, (not p or less(last, p[1])) and 1 or 0}
  end
end
return {#marks, 0}`
