package script

// luaEvents: kind(key) returns the type of a key, and field(entry, name) returns the first value of
// a field. The function marked(log, name, partitions) returns nil if the log has the mark of the
// store. Otherwise it returns a reply with the reason. Its second result is true if the log is new.
const luaEvents = `
local function kind(k) return redis.call('TYPE', k)['ok'] end
local function field(e, name)
  for i = 1, #e[2], 2 do if e[2][i] == name then return e[2][i+1] end end
end
local function at(log, id) return redis.call('XRANGE', log, id, id)[1] end
local function marked(log, name, partitions)
  local t = kind(log)
  if t == 'none' then return nil, true end
  if t ~= 'stream' then return {'foreign', log, 'holds a '..t} end
  local m = at(log, '0-1')
  if not m and redis.call('XLEN', log) == 0 then return nil, true end
  if not m or field(m, 'store') ~= name then return {'foreign', log, 'is a stream without the mark of the store'} end
  if field(m, 'partitions') ~= partitions then return {'partitions', log, field(m, 'partitions') or ''} end
end
local function listed(log, index, aggregate)
  local t = kind(index)
  if t == 'none' then return nil, false end
  if t ~= 'list' then return {'foreign', index, 'holds a '..t} end
  local last = redis.call('LINDEX', index, -1)
  local e = string.match(last, '^%d+%-%d+$') and at(log, last)
  if not e then return {'foreign', index, 'ends with '..string.sub(last, 1, 40)..', which the log lacks'} end
  if field(e, 'key') ~= aggregate then return {'foreign', index, 'lists an event of another aggregate'} end
  return nil, last
end`

// Append writes the events of one append, or none: KEYS log, once, an index for each part. ARGV
// store, partitions, append id, fingerprint, remember in ms, most events and bytes between, number of
// events. Then per part: aggregate, expected ID ("*" any, "" none), message ID of its first event,
// number of events before it, number of its events. Then per event the number of its values and the
// values. Without parts, it only marks the log.
//
// It checks everything before it writes. The first write is refused without memory, and later ones
// are not, so the append is written whole or not at all. Returns "ok" or "again" and the last ID of
// each part, and after "ok" the ID of each event; or "conflict", "foreign", "partitions" or "used" with
// details. The expected event is found by bisection, because an index may have millions of IDs.
const Append = luaEvents + LuaLess + `
local log, once = KEYS[1], KEYS[2]
local bad, fresh = marked(log, ARGV[1], ARGV[2])
if bad then return bad end
local first = string.sub(redis.call('GET', once) or '', 1)
if first ~= '' then
  local out = {}
  for word in string.gmatch(first, '%S+') do out[#out+1] = word end
  if out[1] ~= ARGV[4] then return {'used'} end
  out[1] = 'again'
  return out
end
local parts, i = {}, 9
for p = 3, #KEYS do
  local part = {key = KEYS[p], aggregate = ARGV[i], expected = ARGV[i+1], first = ARGV[i+2],
    before = tonumber(ARGV[i+3]), n = tonumber(ARGV[i+4]), from = i + 5}
  i = i + 5
  for _ = 1, part.n do i = i + 1 + ARGV[i] end
  local wrong, last = listed(log, part.key, part.aggregate)
  if wrong then return wrong end
  part.last = last or ''
  parts[#parts+1] = part
end
local function upto(part)
  if part.expected == '' then return 0 end
  local low, high = 0, redis.call('LLEN', part.key)
  while low < high do
    local mid = math.floor((low + high) / 2)
    local id = redis.call('LINDEX', part.key, mid)
    if id == part.expected then return mid + 1 end
    if less(id, part.expected) then low = mid + 1 else high = mid end
  end
end
local function between(part)
  local from = upto(part)
  if not from then return {}, 0 end
  local all, size = {}, 0
  for _, id in ipairs(redis.call('LRANGE', part.key, from, from + math.max(ARGV[6], 1) - 1)) do
    local e = at(log, id)
    if not e then break end
    for _, v in ipairs(e[2]) do size = size + #v end
    if #all > 0 and size > tonumber(ARGV[7]) then break end
    all[#all+1] = e
  end
  return all, redis.call('LLEN', part.key) - from
end
local function repeated(part, e)
  if not e or field(e, 'id') ~= part.first then return nil end
  local back = redis.call('XREVRANGE', log, e[1], '-', 'COUNT', part.before + 1)
  local out, of, n = {'again'}, {}, 0
  for _, w in ipairs(redis.call('XRANGE', log, back[#back][1], '+', 'COUNT', ARGV[8])) do
    if field(w, 'id') ~= ARGV[3]..'/'..n then return {'used'} end
    of[field(w, 'key')], n = w[1], n + 1
  end
  if n < tonumber(ARGV[8]) then return {'used'} end
  for _, q in ipairs(parts) do
    if not of[q.aggregate] then return {'used'} end
    out[#out+1] = of[q.aggregate]
  end
  return out
end
for p, part in ipairs(parts) do
  if part.expected ~= '*' and part.expected ~= part.last then
    local all, n = between(part)
    return repeated(part, all[1]) or {'conflict', p, part.last, n, ARGV[6] == '0' and {} or all}
  end
end
if fresh then
  local m = redis.pcall('XADD', log, '0-1', 'store', ARGV[1], 'partitions', ARGV[2], 'format', '1')
  if type(m) == 'table' and m['err'] then
    if string.find(m['err'], 'OOM', 1, true) then return m end
    return {'foreign', log, 'was emptied'}
  end
end
if #parts == 0 then return {'ok'} end
local out, ids, result = {'ok'}, {}, ARGV[4]
for _, part in ipairs(parts) do
  local j, id = part.from, nil
  for _ = 1, part.n do
    id = redis.call('XADD', log, '*', unpack(ARGV, j + 1, j + ARGV[j]))
    redis.call('RPUSH', part.key, id)
    ids[#ids+1] = id
    j = j + 1 + ARGV[j]
  end
  out[#out+1] = id
  result = result..' '..id
end
redis.call('SET', once, result, 'PX', ARGV[5])
for _, id in ipairs(ids) do out[#out+1] = id end
return out`

// Events reads events of an aggregate: KEYS log, index, and perhaps a snapshot. ARGV aggregate,
// number of events to leave out, most events, most bytes. A snapshot replaces the number to leave
// out if it includes an event that the index lists. Returns "ok", the number of events of the
// aggregate, its last ID, the number left out, the ID and the data of the snapshot, and the events.
const Events = luaEvents + `
local log, index, from = KEYS[1], KEYS[2], tonumber(ARGV[2])
local wrong, last = listed(log, index, ARGV[1])
if wrong then return wrong end
if not last then return {'ok', 0, '', 0, '', '', {}} end
local id, data = '', ''
if KEYS[3] then
  local t = kind(KEYS[3])
  if t ~= 'none' and t ~= 'hash' then return {'foreign', KEYS[3], 'holds a '..t} end
  local s = redis.call('HMGET', KEYS[3], 'id', 'n', 'data')
  if s[1] and s[2] and s[3] and redis.call('LINDEX', index, s[2] - 1) == s[1] then
    id, from, data = s[1], tonumber(s[2]), s[3]
  end
end
local all, size, ids = {}, 0, {}
if ARGV[3] ~= '0' then ids = redis.call('LRANGE', index, from, from + ARGV[3] - 1) end
for _, at_id in ipairs(ids) do
  local e = at(log, at_id)
  if not e then return {'missing', at_id} end
  if field(e, 'key') ~= ARGV[1] then return {'foreign', index, 'lists an event of another aggregate'} end
  for _, v in ipairs(e[2]) do size = size + #v end
  if #all > 0 and size > tonumber(ARGV[4]) then break end
  all[#all+1] = e
end
return {'ok', redis.call('LLEN', index), last, from, id, data, all}`

// Snapshot stores a snapshot unless a later one exists: KEYS snapshot, index. ARGV ID, number of
// events, data, time to live in ms. Returns 1, 0 if there is a later one, and -1 if the aggregate has
// no such event.
const Snapshot = `
local snap, index = KEYS[1], KEYS[2]
local function has(id, n) return redis.call('LINDEX', index, n - 1) == id end
if not has(ARGV[1], ARGV[2]) then return -1 end
local old = redis.call('HMGET', snap, 'id', 'n')
if old[1] and old[2] and tonumber(old[2]) >= tonumber(ARGV[2]) and has(old[1], old[2]) then return 0 end
redis.call('HSET', snap, 'id', ARGV[1], 'n', ARGV[2], 'data', ARGV[3])
redis.call('PEXPIRE', snap, ARGV[4])
return 1`
