package script

// The scripts of jobs share four keys, all in one slot. KEYS 1 is the state of the job (a hash),
// and 2 the notices of the queue (a stream). KEYS 3 is the key that makes the job unique, or the
// state again if the job is not unique. KEYS 4 is the stream of its priority.
//
// Idea: each change of a job's state is one script, which decides by the state and by the number of
// the attempt. So of a cancel and a completion one wins, and a worker that lost its job changes
// nothing. Each change is also a notice with all fields but the result, so watchers read one stream.

// jobLua has what the scripts share. ended is the set of final states.
//
// A version is the time of Redis in milliseconds, or one more than the last. So versions grow also
// after a failover that has lost the last changes, and watchers miss no state.
const jobLua = `
local ended = {done = true, failed = true, cancelled = true}
local function now()
  local t = redis.call('TIME')
  return string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
end
local function get(f) return redis.call('HGET', KEYS[1], f) or nil end
local function tell()
  local version = math.max(tonumber(now()), tonumber(get('version') or 0) + 1)
  redis.call('HSET', KEYS[1], 'version', string.format('%.0f', version))
  local all, out = redis.call('HGETALL', KEYS[1]), {}
  for i = 1, #all, 2 do
    if all[i] ~= 'result' and all[i] ~= 'token' then out[#out+1] = all[i]; out[#out+1] = all[i+1] end
  end
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', unpack(out))
  redis.call('PEXPIRE', KEYS[2], 3600000)
end
local function forget(keep)
  if KEYS[3] ~= KEYS[1] and redis.call('GET', KEYS[3]) == get('id') then redis.call('DEL', KEYS[3]) end
  redis.call('HSET', KEYS[1], 'ended', now())
  redis.call('HDEL', KEYS[1], 'token', 'retry')
  redis.call('PEXPIRE', KEYS[1], keep)
end
`

// jobOpenLua is for the scripts of workers. The function live keeps the state of a job that has not
// ended, and its unique key. It takes the key again if it is free. The function current reports
// whether an attempt is the current one. A failover can lose the begin of an attempt: then it is
// recorded again, unless the ID meanwhile belongs to another job, which was submitted at another
// time.
const jobOpenLua = jobLua + `
local function live(keep)
  redis.call('PEXPIRE', KEYS[1], keep)
  if KEYS[3] == KEYS[1] then return end
  local by = redis.call('GET', KEYS[3])
  if not by then redis.call('SET', KEYS[3], get('id'), 'PX', keep)
  elseif by == get('id') then redis.call('PEXPIRE', KEYS[3], keep) end
end
local function current(attempt, token, at)
  local newest = tonumber(get('attempt') or 0)
  if get('at') ~= at then return false end
  if tonumber(attempt) > newest then
    redis.call('HSET', KEYS[1], 'state', 'running', 'attempt', attempt, 'token', token, 'started', now())
    redis.call('HDEL', KEYS[1], 'ended')
    return true
  end
  return tonumber(attempt) == newest and get('token') == token
end
`

// JobSubmit: KEYS as above, 5 the index of recent jobs, 6 and 7 the schedule of the stream. ARGV id,
// how long to keep the state (ms), most waiting jobs or 0, most jobs in the index, due time (ms) or
// 0, what the schedule stores. Then the number of values of the state, these, the fields of the
// entry. Returns "new", "same" for the same id again, "taken" with the id that has the unique key,
// or "full".
const JobSubmit = jobLua + `
local id, keep, most, due = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
if redis.call('EXISTS', KEYS[1]) == 1 then return {'same', id} end
local unique = KEYS[3] ~= KEYS[1]
if unique then
  local by = redis.call('GET', KEYS[3])
  if by then return {'taken', by} end
end
if most > 0 and redis.call('XLEN', KEYS[4]) + redis.call('ZCARD', KEYS[6]) >= most then return {'full', id} end
local n = tonumber(ARGV[7])
local at, entry = now(), nil
local later = due > tonumber(at)
if later then
  redis.call('ZADD', KEYS[6], ARGV[5], id)
  redis.call('HSET', KEYS[7], id, ARGV[6])
  keep = keep + due - tonumber(at)
else
  entry = redis.call('XADD', KEYS[4], '*', unpack(ARGV, 8 + n))
end
redis.call('HSET', KEYS[1], 'id', id, 'state', later and 'scheduled' or 'queued', 'at', at, unpack(ARGV, 8, 7 + n))
if later then redis.call('HSET', KEYS[1], 'due', ARGV[5]) else redis.call('HSET', KEYS[1], 'entry', entry) end
redis.call('PEXPIRE', KEYS[1], keep)
if unique then redis.call('SET', KEYS[3], id, 'PX', keep) end
redis.call('ZADD', KEYS[5], at, id)
redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -1 - tonumber(ARGV[4]))
if redis.call('PTTL', KEYS[5]) < keep then redis.call('PEXPIRE', KEYS[5], keep) end
tell()
return {'new', id}`

// JobBegin: ARGV token, id of the entry, most attempts or 0, how long to keep the state (ms) while
// the job has not ended and after its end. Then the error for a job without attempts left, and
// values for a state that is missing. Begins the next attempt. Returns "run", its number and when
// the job was submitted, or the final state and the error. The same token twice is one attempt.
//
// A missing state has expired, or was never written because another program appended the entry: it
// is made. A failed job in another entry is a dead letter that was replayed: it begins again.
//
// The first command needs no memory. So jobs run also while Redis is full, and make room: Redis does
// not interrupt a script after its first write.
const JobBegin = jobOpenLua + `
redis.call('HDEL', KEYS[1], 'retry')
local st = get('state')
if not st then
  redis.call('HSET', KEYS[1], 'state', 'queued', 'at', now(), 'entry', ARGV[2], unpack(ARGV, 7))
  st = 'queued'
end
if get('token') == ARGV[1] then return {'run', get('attempt'), get('at')} end
if st == 'failed' and get('entry') ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'spared', get('attempt') or '0')
  redis.call('HDEL', KEYS[1], 'ended')
elseif ended[st] then
  if st == 'cancelled' then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
  return {st, get('error') or ''}
end
local most = tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'entry', ARGV[2])
if most > 0 and tonumber(get('attempt') or 0) - tonumber(get('spared') or 0) >= most then
  redis.call('HSET', KEYS[1], 'state', 'failed')
  redis.call('HSETNX', KEYS[1], 'error', ARGV[6])
  forget(ARGV[5])
  tell()
  return {'failed', get('error')}
end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HDEL', KEYS[1], 'leaves', 'settled', 'stages', 'done', 'total', 'note')
redis.call('HSET', KEYS[1], 'state', 'running', 'token', ARGV[1], 'started', now())
live(ARGV[4])
tell()
return {'run', tostring(attempt), get('at')}`

// JobReport: ARGV attempt, its token, when the job was submitted, how long to keep the state (ms),
// values that have changed. Returns "run" if the attempt is the current one and runs, the state of a
// job that has ended, "stale" for another attempt, or "gone" for a missing state.
const JobReport = jobOpenLua + `
local st = get('state')
if not st then return 'gone' end
if st == 'cancelled' or not current(ARGV[1], ARGV[2], ARGV[3]) then return ended[st] and st or 'stale' end
live(ARGV[4])
if #ARGV > 4 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 5))
  for i = 5, #ARGV, 2 do
    if ARGV[i+1] == '' then redis.call('HDEL', KEYS[1], ARGV[i]) end
  end
  tell()
end
return 'run'`

// JobEnd: ARGV attempt, its token, when the job was submitted, the state that it ends in, most
// attempts or 0. Then how long to keep the state (ms) after the end and before, the number of
// values for a state that is missing, these, then values of the end. The states are done, failed,
// retrying, and queued for an attempt that does not count. Returns the state that the job now has,
// or "stale" if the attempt is not the current one.
const JobEnd = jobOpenLua + `
local st, to, most, n = get('state'), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[8])
if st == 'cancelled' then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return st
end
if not st then redis.call('HSET', KEYS[1], 'at', ARGV[3], unpack(ARGV, 9, 8 + n)) end
if not current(ARGV[1], ARGV[2], ARGV[3]) then
  if st ~= 'running' and get('attempt') == ARGV[1] and get('at') == ARGV[3] then return st end -- the same call again
  return 'stale'
end
redis.call('HDEL', KEYS[1], 'token', 'stages', 'retry') -- needs no memory, see JobBegin
if to == 'retrying' and most > 0 and tonumber(ARGV[1]) - tonumber(get('spared') or 0) >= most then to = 'failed' end
redis.call('HSET', KEYS[1], 'state', to)
if to == 'done' then redis.call('HDEL', KEYS[1], 'error', 'stage', 'tries') end
if #ARGV > 8 + n then redis.call('HSET', KEYS[1], unpack(ARGV, 9 + n)) end
if to == 'queued' then redis.call('HINCRBY', KEYS[1], 'spared', 1) end
if ended[to] then forget(ARGV[6]) else live(ARGV[7]) end
tell()
return to`

// JobCancel: KEYS as above, 5 and 6 the schedule of the stream. ARGV id, how long to keep the state
// (ms) if the entry of the job is gone, and else: then a worker will find it. Returns "now" if this
// call cancelled the job, else its state, or "gone".
const JobCancel = jobLua + `
local st = get('state')
if not st then return 'gone' end
if ended[st] then return st end
local removed = redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('HDEL', KEYS[6], ARGV[1])
if st == 'queued' and not get('attempt') then removed = redis.call('XDEL', KEYS[4], get('entry')) end
redis.call('HSET', KEYS[1], 'state', 'cancelled')
redis.call('HDEL', KEYS[1], 'stages')
forget(removed == 1 and ARGV[2] or ARGV[3])
tell()
return 'now'`
