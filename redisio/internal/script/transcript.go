package script

// Idea of this file: a transcript is a stream of one writer, with a hash for its state. Entry IDs
// are not the server's: they are "<base>-<n>", where base is the time of the creation in
// microseconds and n numbers the entries from 1. So an ID tells how many entries came before it, a
// missing entry is noticed, and an append can be repeated after a lost reply. The hash has:
//
//	base, n, m       the numbers above, and how many values there are since the last reset
//	bytes, first     the size of the kept entries, and the number of the oldest one
//	state            open, done, failed or stopped
//	attempt          how many writers have claimed it
//	token            of the writer that may append, or of the creation; it is never used again
//	kind             reply or log
//	ct               the content type of the values
//	ttl, keep, till  life after a write and after the end in ms; or the time of the end of life
//
// A log also has seq, closer, tokens, and one field "p:<name>" for each producer: its epoch, its last
// number, and the number of the last entry then. All keys are in one slot.

// luaTranscript: load() returns the state, and save() writes it back and renews the time to live.
// The function put() appends an entry and adds it to the counts, finish() ends the transcript, and
// tell() notifies all processes of an end, by KEYS[3]. A server without free memory refuses the
// first write of a script if it may take memory, but none after it. So an end and a deletion begin
// with a write that takes none.
const luaTranscript = `
local function load()
  local v = redis.call('HMGET', KEYS[1], 'base', 'n', 'm', 'bytes', 'first', 'state', 'attempt', 'kind', 'ct',
    'ttl', 'keep', 'till', 'token')
  if not v[1] then return nil end
  return {base = v[1], n = tonumber(v[2]), m = tonumber(v[3]), bytes = tonumber(v[4]), first = tonumber(v[5]),
    state = v[6], attempt = tonumber(v[7]), kind = v[8], ct = v[9], ttl = v[10], keep = v[11], till = v[12],
    token = v[13]}
end
local function id(t, n) return t.base .. '-' .. string.format('%.0f', n) end
local function put(t, op, data)
  t.n = t.n + 1
  t.bytes = t.bytes + #data
  if op == '' then
    redis.call('XADD', KEYS[2], id(t, t.n), 'data', data)
    t.m = t.m + 1
  else
    redis.call('XADD', KEYS[2], id(t, t.n), 'type', op, 'data', data)
    t.m, t.first, t.bytes = 0, t.n, #data
    redis.call('XTRIM', KEYS[2], 'MINID', id(t, t.n))
  end
end
local function trim(t, most, bytes)
  local from = t.first
  while t.first < t.n and (t.n - t.first + 1 > most or t.bytes > bytes) do
    local page = redis.call('XRANGE', KEYS[2], id(t, t.first), '+', 'COUNT', 100)
    if not page[1] then break end
    for _, e in ipairs(page) do
      if t.first >= t.n or t.n - t.first + 1 <= most and t.bytes <= bytes then break end
      t.bytes = t.bytes - #e[2][#e[2]]
      t.first = t.first + 1
    end
  end
  if t.first > from then redis.call('XTRIM', KEYS[2], 'MINID', id(t, t.first)) end
end
local function live(t)
  if t.till ~= '' then
    redis.call('PEXPIREAT', KEYS[1], t.till)
    redis.call('PEXPIREAT', KEYS[2], t.till)
    return
  end
  local ms = t.ttl
  if t.state ~= 'open' then ms = t.keep end
  redis.call('PEXPIRE', KEYS[1], ms)
  redis.call('PEXPIRE', KEYS[2], ms)
end
local function finish(t, state, data)
  t.state = state
  live(t)
  redis.call('XADD', KEYS[2], id(t, t.n + 1), 'type', 'end', 'data', data)
  redis.call('HSET', KEYS[1], 'end', data)
end
local function save(t)
  redis.call('HSET', KEYS[1], 'n', string.format('%.0f', t.n), 'm', string.format('%.0f', t.m),
    'bytes', string.format('%.0f', t.bytes), 'first', string.format('%.0f', t.first), 'state', t.state,
    'attempt', string.format('%.0f', t.attempt), 'ct', t.ct, 'token', t.token)
  live(t)
end
local function tell(name)
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', 1000, '*', 'data', name)
  redis.call('PEXPIRE', KEYS[3], 3600000)
end`

// TranscriptCreate: KEYS state, stream, index. ARGV kind, ct, ttl ms, keep ms, till in Unix ms or
// "", max age and length of the index, name. Then end ("" for open, else the data of its end), a
// token of this call, values… Returns "new", or "old" with the state if it exists. A repeated call
// returns "new" again.
const TranscriptCreate = luaTranscript + `
local t = load()
local v = redis.call('TIME')
if t then
  return {t.token == ARGV[10] and 'new' or 'old', t.base, t.n, t.kind, t.ct, t.ttl, t.till, t.state}
end
local now = v[1] * 1000 + math.floor(v[2] / 1000)
if ARGV[5] ~= '' and tonumber(ARGV[5]) <= now then return {'late'} end
t = {base = v[1] .. string.format('%06d', tonumber(v[2])), n = 0, m = 0, bytes = 0, first = 1, state = 'open',
  attempt = 0, kind = ARGV[1], ct = ARGV[2], ttl = ARGV[3], keep = ARGV[4], till = ARGV[5],
  token = ARGV[10]}
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'base', t.base, 'kind', t.kind, 'ttl', t.ttl, 'keep', t.keep, 'till', t.till,
  'created', string.format('%.0f', now))
for i = 11, #ARGV do put(t, '', ARGV[i]) end
if ARGV[9] ~= '' then finish(t, 'done', ARGV[9]) end
save(t)
if KEYS[3] then
  redis.call('ZADD', KEYS[3], now, ARGV[8])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[6])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - ARGV[7])
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
return {'new', t.base, t.n, t.kind, t.ct, t.ttl, t.till, t.state}`

// TranscriptClaim: KEYS state, stream. ARGV ct, most attempts, the data of the end after them, a
// token of this call. Begins an attempt to write a reply. All earlier writers are fenced. A repeated
// call is the same attempt. Returns "open", the attempt, base, n, m, and the last value; or the state
// that prevents it.
const TranscriptClaim = luaTranscript + `
local t = load()
if not t then return {'missing'} end
if t.kind ~= 'reply' then return {'foreign'} end
if t.state ~= 'open' then return {t.state} end
if t.token ~= ARGV[4] then t.attempt = t.attempt + 1 end
if t.attempt > tonumber(ARGV[2]) then
  finish(t, 'failed', ARGV[3])
  save(t)
  return {'exhausted'}
end
t.ct, t.token = ARGV[1], ARGV[4]
save(t)
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local data = ''
if last and t.m > 0 then data = last[2][#last[2]] end
return {'open', t.attempt, t.base, t.n, t.m, data}`

// TranscriptAppend: KEYS state, stream. ARGV token and number of the attempt, number of the first
// entry, most entries, most bytes, then pairs of an operation ("" for a value, "reset",
// "end:<state>") and its data. Entries that were written already are skipped. Without pairs it only
// renews the time to live. Returns "open" and n, or why it was not written: "behind" also if a
// failover has lost the claim.
const TranscriptAppend = luaTranscript + `
local t = load()
if not t then return {'missing'} end
if t.token ~= ARGV[1] then return {t.attempt < tonumber(ARGV[2]) and 'behind' or 'fenced'} end
if t.state ~= 'open' then return {t.state} end
local n = tonumber(ARGV[3])
if n > t.n + 1 then return {'behind'} end
for i = 6, #ARGV, 2 do
  local state = ARGV[i]:match('^end:(.*)$')
  if state then
    finish(t, state, ARGV[i+1])
  elseif n > t.n then
    put(t, ARGV[i], ARGV[i+1])
  end
  n = n + 1
end
trim(t, tonumber(ARGV[4]), tonumber(ARGV[5]))
save(t)
return {'open', t.n}`

// TranscriptEnd: KEYS state, stream, stops. ARGV state, data of the end, name. Ends an open
// transcript, and notifies all processes by the stream of stops. Returns the state before, or
// "missing".
const TranscriptEnd = luaTranscript + `
local t = load()
if not t then return 'missing' end
local was = t.state
if was == 'open' then
  finish(t, ARGV[1], ARGV[2])
  save(t)
  tell(ARGV[3])
end
return was`

// TranscriptDelete: KEYS state, stream, stops, index. ARGV name. Deletes a transcript, and notifies
// its writer. Returns whether it existed.
const TranscriptDelete = luaTranscript + `
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[4], ARGV[1])
tell(ARGV[1])
return 1`

// TranscriptTouch: KEYS state, stream. Renews the life of a log that was read.
const TranscriptTouch = luaTranscript + `
local t = load()
if t then live(t) end
return 1`

// TranscriptPost: KEYS state, stream. ARGV ct, writer's sequence ("" for none), producer ("" for
// none), epoch, number, "1" to close, data of the end. Then most entries, most bytes, most
// producers, a token of 16 bytes, values… Appends to a log. Returns a status, base, n, state, the
// producer's epoch and its last number. The last 64 tokens are kept, so a repeated call appends
// nothing. Beyond the most producers one is forgotten. Strings are compared by bytes, because the
// operator < depends on the server's locale. Parameters of a content type do not matter.
const TranscriptPost = luaTranscript + `
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    if a:byte(i) ~= b:byte(i) then return a:byte(i) < b:byte(i) end
  end
  return #a < #b
end
local function forget() -- the producer that has not written for the longest time
  local all, oldest, at = redis.call('HGETALL', KEYS[1]), nil, nil
  for i = 1, #all, 2 do
    local n = all[i]:sub(1, 2) == 'p:' and tonumber(all[i+1]:match('(%d+)$'))
    if n and (not at or n < at) then oldest, at = all[i], n end
  end
  if not oldest then return end
  redis.call('HDEL', KEYS[1], oldest)
  redis.call('HINCRBY', KEYS[1], 'producers', -1)
end
local function media(ct) return ((ct:match('^[^;]*') or ''):lower():gsub('%s', '')) end
local t = load()
if not t then return {'missing'} end
local name, epoch, num = 'p:' .. ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local e, last = -1, -1
if ARGV[3] ~= '' then
  local v = redis.call('HGET', KEYS[1], name)
  if v then
    e, last = v:match('^(%d+) (%d+)')
    e, last = tonumber(e), tonumber(last)
  end
end
local function answer(status) return {status, t.base, t.n, t.state, e, last} end
if t.kind ~= 'log' then return answer('foreign') end
local tokens = redis.call('HGET', KEYS[1], 'tokens') or ''
if tokens:find(ARGV[11], 1, true) then return answer('open') end
local values, close = #ARGV - 11, ARGV[6] == '1'
local tuple = ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5]
if t.state ~= 'open' then
  if ARGV[3] ~= '' and epoch < e then return answer('stale') end
  if ARGV[3] ~= '' and redis.call('HGET', KEYS[1], 'closer') == tuple then return answer('again') end
  if close and values == 0 and ARGV[3] == '' then return answer('again') end
  return answer('closed')
end
if values > 0 and media(ARGV[1]) ~= media(t.ct) then return answer('type') end
if ARGV[3] ~= '' then
  if e < 0 and num ~= 0 then return answer('gap') end
  if epoch < e then return answer('stale') end
  if epoch > e and num ~= 0 then return answer('epoch') end
  if epoch == e and num <= last then return answer('again') end
  if epoch == e and num > last + 1 then return answer('gap') end
end
if ARGV[2] ~= '' then
  local had = redis.call('HGET', KEYS[1], 'seq')
  if had and not before(had, ARGV[2]) then return answer('seq') end
end
for i = 12, #ARGV do put(t, '', ARGV[i]) end
if close then finish(t, 'done', ARGV[7]) end
trim(t, tonumber(ARGV[8]), tonumber(ARGV[9]))
save(t)
redis.call('HSET', KEYS[1], 'tokens', (tokens .. ARGV[11]):sub(-1024))
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'seq', ARGV[2]) end
if ARGV[3] ~= '' then
  if e < 0 and redis.call('HINCRBY', KEYS[1], 'producers', 1) > tonumber(ARGV[10]) then forget() end
  e, last = epoch, num
  redis.call('HSET', KEYS[1], name, ARGV[4] .. ' ' .. ARGV[5] .. ' ' .. string.format('%.0f', t.n))
  if close then redis.call('HSET', KEYS[1], 'closer', tuple) end
end
return answer('open')`
