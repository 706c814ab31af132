package script

// luaDeliver: deliver(count, most) returns two counts for the next delivery of an entry: the one to
// record and the one to report. The entry was delivered count times so far. The maximum number of
// deliveries is most, or unlimited if it is 0.
//
// The last delivery is recorded as most+1. Our readers have delivered an entry with exactly that
// count as often as allowed, and deliver reports most+1. Any other count of most or more was raised
// by other clients, which may only have looked at the entry. It is delivered once, as the last
// time.
const luaDeliver = `
local function deliver(count, most)
  local n = math.min(count + 1, 1e15)
  if most <= 0 or n < most then return n, n end
  if count == most + 1 or most == 1 and count == 1 then return count, most + 1 end
  return most + 1, most
end`

// LuaLess compares entry IDs.
const LuaLess = `
local function less(a, b)
  local am, as = a:match('^(%d+)-(%d+)$')
  local bm, bs = b:match('^(%d+)-(%d+)$')
  if #am ~= #bm then return #am < #bm end
  if am ~= bm then return am < bm end
  if #as ~= #bs then return #as < #bs end
  return as < bs
end`

// Read runs a command that reads a key: KEYS key. ARGV the command, and its arguments behind the key.
// A client may send a plain read to a replica, which can be behind. Scripts run on the master.
const Read = `return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))`
