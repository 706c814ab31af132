package script

// Limit takes units of a limit by fixed windows, as INCREX key BYINT n UBOUND most SATURATE PX ms
// ENX does on servers that have it. The server's clock ends a window: the key expires.
//
// KEYS counter. ARGV wanted units, most units per window, window in ms. Returns the units taken, and
// the time left of the window in ms. It shortens a window that is too long, because the clock of the
// server was set back, or because the key has no expiry.
const Limit = `
local have = tonumber(redis.call('GET', KEYS[1]) or '0')
local got = math.max(0, math.min(tonumber(ARGV[1]), tonumber(ARGV[2]) - have))
if got > 0 then redis.call('INCRBY', KEYS[1], string.format('%d', got)) end
local left = redis.call('PTTL', KEYS[1])
if left == -1 or left > tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  left = tonumber(ARGV[3])
end
return {got, left}`
