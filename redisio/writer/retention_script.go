package writer

import (
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// scriptRetain: KEYS stream. Its arguments (ARGV) are:
//
//  1. Most entries, or -1.
//  2. Smallest id, "" for any, "+" to drop all settled entries.
//  3. Most age in ms, or -1.
//  4. "drop" or "keep" the entries that groups need.
//  5. "~" or "=".
//  6. "acked" if the server can trim around pending entries.
//  7. Hard cap, or -1.
//  8. "drop" or "keep" at the cap.
//  9. Most bytes, or -1.
//  10. Bytes of an entry, for servers that do not report them.
//  11. The most entries to drop.
//
// It returns:
//
//  1. The number of dropped entries.
//  2. How many of them some group had not read or had pending.
//  3. The length of the stream.
//  4. The bytes of the stream, or -1.
//  5. 1 if there is more to drop.
//  6. The group that keeps entries which should be dropped, or "".
//  7. The lag of that group, or -1.
//  8. Its number of pending entries.
//  9. Its number of consumers.
//  10. The id from which on it keeps entries.
//
// A stream without groups is trimmed by "~" without XRANGE, so it needs no right to read.
//
// Entries that can be dropped without loss are dropped first, and exactly. So all entries that are
// dropped afterwards are lost, and the result of the trimming is their number. The pending lists
// keep the ids of entries that were read but are pending.
//
// No call takes long. It drops whole nodes by "~" and LIMIT. When it has dropped more than half of
// the allowed number, it stops and reports that there is more. So the rest for "=" lies in one
// node. It reads at most 20,000 entries of the pending lists.
const scriptRetain = script.LuaLess + `
local maxlen, minid, maxage, drop, how = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4] == 'drop', ARGV[5]
local cap, capdrop, budget = tonumber(ARGV[7]), ARGV[8] == 'drop', tonumber(ARGV[9])
local left, half = tonumber(ARGV[11]), tonumber(ARGV[11]) / 2
local function spent() return left < half end
local function behind(id)
  local ms, seq = id:match('^(%d+)-(%d+)$')
  if not ms then ms, seq = id, '0' end
  if #seq > 15 then return id end
  return ms..'-'..string.format('%.0f', seq + 1)
end
local start = redis.call('XLEN', KEYS[1])
if start == 0 then return {0, 0, 0, 0, 0, '', 0, 0, 0, ''} end
local first, groups, safe, unread, holder = nil, {}, nil, nil, {}
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  first = first or redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
  local f = {}
  for i = 1, #g, 2 do f[g[i]] = g[i+1] end
  groups[#groups+1] = f
  local need = behind(f['last-delivered-id'])
  if not unread or less(need, unread) then unread = need end
  local p = redis.call('XPENDING', KEYS[1], f['name'], first, '+', 1)
  if p[1] and less(p[1][1], need) then need = p[1][1] end
  f['need'] = need
  if not safe or less(need, safe) then safe, holder = need, f end
end
local function before(id, how)
  if spent() then return 0 end
  local d = redis.call('XTRIM', KEYS[1], 'MINID', '~', id, 'LIMIT', left)
  left = left - d
  if how == '~' or spent() then return d end
  local rest = redis.call('XTRIM', KEYS[1], 'MINID', '=', id)
  left = left - rest
  return d + rest
end
local function toLength(n, how)
  local over = redis.call('XLEN', KEYS[1]) - n
  if over <= 0 or spent() then return 0 end
  local d
  if how == '~' then d = redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', n, 'LIMIT', left)
  else d = redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', n + math.max(0, over - left)) end
  left = left - d
  return d
end
local function shrink(n, allow, how)
  if not allow then toLength(n, how) return end
  local over = redis.call('XLEN', KEYS[1]) - n
  if over <= 0 or spent() then return end
  local d = redis.call('XTRIM', KEYS[1], 'MINID', '~', allow, 'LIMIT', math.min(over, left))
  left, over = left - d, over - d
  if how == '~' or over <= 0 or spent() then return end
  over = math.min(over, left)
  local e = redis.call('XRANGE', KEYS[1], '-', '('..allow, 'COUNT', over)
  if #e == over then allow = behind(e[over][1]) end
  if #e > 0 then left = left - redis.call('XTRIM', KEYS[1], 'MINID', '=', allow) end
end
local lost, lossy = 0, false
local function shrinkTo(n, drop, how)
  if not drop then shrink(n, safe, how) return end
  lossy = true
  if unread then shrink(n, unread, '=') end
  local d = toLength(n, how)
  if unread then lost = lost + d end
end
if maxage >= 0 then
  local t = redis.call('TIME')
  local id = string.format('%.0f', math.max(0, t[1] * 1000 + math.floor(t[2] / 1000) - maxage))..'-0'
  if minid == '' or less(minid, id) then minid = id end
end
if minid == '+' then minid = safe or '' end
if minid ~= '' then
  lossy = drop
  if drop and unread and less(unread, minid) then
    before(unread, '=')
    lost = lost + before(minid, how)
  else
    local allow = drop and unread or safe
    if not allow or less(minid, allow) then allow = minid end
    before(allow, how)
  end
end
if maxlen >= 0 then shrinkTo(maxlen, drop, how) end
if cap >= 0 and (capdrop or unread) then shrinkTo(cap, capdrop, '=') end
local bytes = -1
if budget >= 0 then
  local function size()
    local m = redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 0)
    if type(m) == 'number' then return m end
    return redis.call('XLEN', KEYS[1]) * tonumber(ARGV[10])
  end
  bytes = size()
  for i = 1, 8 do
    local n = redis.call('XLEN', KEYS[1])
    if bytes <= budget or n == 0 or spent() or not (drop or capdrop or unread) then break end
    shrinkTo(math.min(n - 1, math.floor(n * budget / bytes * 0.9)), drop or capdrop, '=')
    if redis.call('XLEN', KEYS[1]) == n then break end
    bytes = size()
  end
end
local len = redis.call('XLEN', KEYS[1])
if ARGV[6] == 'acked' and safe and less(safe, unread) and len <= 10000 and not spent() then
  local most = maxlen >= 0 and not drop and maxlen or len
  if cap >= 0 and not capdrop and cap < most then most = cap end
  if most < len then redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', most, 'ACKED') end
  if minid ~= '' and ARGV[2] ~= '+' and not drop then redis.call('XTRIM', KEYS[1], 'MINID', '=', minid, 'ACKED') end
  len = redis.call('XLEN', KEYS[1])
  for _, f in ipairs(groups) do -- a single pending entry keeps nothing but itself
    if (f['lag'] or 0) + f['pending'] > (holder['lag'] or 0) + holder['pending'] then holder = f end
  end
end
if lossy and unread and len < start and less(first, unread) then
  local now = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local stop = '('..unread
  if now and less(now[1], unread) then stop = '('..now[1] end
  local seen, visits = {}, 20000
  for _, f in ipairs(groups) do
    local from = first
    while visits > 0 and lost < start - len and from ~= stop do
      local p = redis.call('XPENDING', KEYS[1], f['name'], from, stop, 100)
      for _, e in ipairs(p) do
        if not seen[e[1]] then seen[e[1]] = true; lost = lost + 1 end
        from = '('..e[1]
      end
      visits = visits - 100
      if #p < 100 then break end
    end
  end
  lost = math.min(lost, start - len)
end
local function kept()
  if not safe or spent() then return false end
  if cap >= 0 and not capdrop and len > cap then return true end
  if budget >= 0 and bytes > budget and not (drop or capdrop) then return true end
  if maxlen >= 0 and not drop and len > 2 * maxlen + 100 then return true end
  return minid ~= '' and not drop and less(safe, minid) and #redis.call('XRANGE', KEYS[1], safe, '('..minid, 'COUNT', 1) > 0
end
if not kept() then return {start - len, lost, len, bytes, spent() and 1 or 0, '', 0, 0, 0, ''} end
return {start - len, lost, len, bytes, 0, holder['name'],
  holder['lag'] or -1, holder['pending'], holder['consumers'], holder['need']}`
