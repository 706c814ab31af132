package schedule

// The scripts of a Scheduler touch only keys of one slot and use only commands of Redis 7.0. They
// check the types of all keys before they write.

// scriptTypes: KEYS stream, later, entries, moved. The other scripts begin with it.
const scriptTypes = `
for i, t in ipairs({redis.call('TYPE', KEYS[1])['ok'], redis.call('TYPE', KEYS[2])['ok'], redis.call('TYPE', KEYS[3])['ok'],
  redis.call('TYPE', KEYS[4])['ok']}) do
  if t ~= 'none' and t ~= ({'stream', 'zset', 'hash', 'zset'})[i] then
    return redis.error_reply('WRONGTYPE '..KEYS[i]..' holds a '..t)
  end
end
`

// scriptSchedule: KEYS as above. ARGV id, time, moved member, packed fields… Schedules entries,
// except those that were moved with the same time and fields.
const scriptSchedule = scriptTypes + `
for i = 1, #ARGV, 4 do
  if not redis.call('ZSCORE', KEYS[4], ARGV[i+2]) then
    redis.call('HSET', KEYS[3], ARGV[i], ARGV[i+2]..'\n'..ARGV[i+3])
    redis.call('ZADD', KEYS[2], ARGV[i+1], ARGV[i])
  end
end
return 1`

// scriptCancel: KEYS later, entries. ARGV ids… Returns how many it removed.
const scriptCancel = `
local n = 0
for _, id in ipairs(ARGV) do
  if redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('HDEL', KEYS[2], id)
    n = n + 1
  end
end
return n`

// scriptMove: KEYS as above. ARGV most entries, most bytes, how long (ms) and how many moved
// entries are remembered. Moves entries that are due by the server's clock, one after the other.
// After an error the moved entries stay moved and the rest waits. Unreadable entries are set aside,
// because they would block the queue forever. Returns the number of entries handled, and the time
// in ms until the next is due, or -1.
const scriptMove = scriptTypes + `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function read(v)
  local a, p = {}, nil
  if not v then return nil end
  local nl = v:find('\n', 1, true)
  if not nl then return nil end
  p = nl + 1
  while p <= #v do
    local c = v:find(':', p, true)
    local n = c and tonumber(v:sub(p, c - 1))
    if not n or n < 0 or c + n > #v then return nil end
    a[#a+1] = v:sub(c + 1, c + n)
    p = c + n + 1
  end
  if #a < 2 or #a % 2 == 1 or #a > 7900 then return nil end
  return a, v:sub(1, nl - 1)
end
local done, bytes = 0, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local v = redis.call('HGET', KEYS[3], id)
  bytes = bytes + (v and #v or 0)
  if done > 0 and bytes > tonumber(ARGV[2]) then break end
  local a, member = read(v)
  if a then
    redis.call('XADD', KEYS[1], '*', unpack(a))
    redis.call('ZREM', KEYS[2], id)
    redis.call('HDEL', KEYS[3], id)
    redis.call('ZADD', KEYS[4], now, member)
  else
    redis.call('ZADD', KEYS[2], '+inf', id)
  end
  done = done + 1
end
if done > 0 or redis.call('EXISTS', KEYS[4]) == 1 then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - tonumber(ARGV[3]))
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - tonumber(ARGV[4]))
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local wait = -1
if first[1] and tonumber(first[2]) < math.huge then wait = math.max(0, math.ceil(tonumber(first[2]) - now)) end
return {done, wait}`
