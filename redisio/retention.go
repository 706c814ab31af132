package redisio

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Full says what a writer does when the stream has HardCap entries.
type Full int

const (
	// FullPause writes nothing until there is room: Write returns a *StreamFullError that is ErrBackpressure, and
	// sink.Stream waits, so that the sources stop reading.
	FullPause Full = iota
	// FullDrop drops the oldest entries. Those that a group had not read or not settled are lost, and counted.
	FullDrop
	// FullRefuse is FullPause for those who would rather not wait: the *StreamFullError is no
	// ErrBackpressure, and sink.Stream rejects the message, as dead letters are. So it does when
	// the server is out of memory.
	FullRefuse
)

// StreamFullError is an entry that was not written because the stream is at its HardCap, or at its
// MaxBytes.
type StreamFullError struct {
	Key      string
	Length   int64 // of the stream
	Cap      int64
	Bytes    int64 // of the stream; 0 if it is at its HardCap
	MaxBytes int64
	Full     Full // the policy
}

func (e *StreamFullError) Error() string {
	if e.Bytes > 0 {
		return fmt.Sprintf(
			"redisio: %q is full: %d bytes of %d that its groups are not done with; add consumers, or raise MaxBytes",
			keyName(e.Key),
			e.Bytes,
			e.MaxBytes,
		)
	}
	return fmt.Sprintf(
		"redisio: %q is full: %d entries of %d, and its groups are not done with the oldest; add consumers, or raise HardCap",
		keyName(e.Key),
		e.Length,
		e.Cap,
	)
}

// Is reports a StreamFullError as not written, and as backpressure unless the policy is to refuse.
func (e *StreamFullError) Is(target error) bool {
	return target == ErrNotWritten || target == ErrBackpressure && e.Full != FullRefuse
}

// scriptRetain: KEYS stream. ARGV most entries or -1; smallest id, "" for any, "+" for all that
// groups are done with; most age in ms or -1; "drop" or "keep" what groups need; "~" or "=";
// "acked" if the server can trim around what is pending; hard cap or -1; "drop" or "keep" at the
// cap; most bytes or -1; what an entry takes, for servers that do not tell. Returns how many
// entries went, how many of them some group had not read or had pending, how many there are, and
// how many bytes they take, or -1.
//
// A stream without groups is trimmed by "~" without XRANGE: who may trim it need not be able to
// read it.
//
// What is dropped without loss goes first and exactly, so that all that is dropped then is lost,
// and counted by the trimming itself. Of entries that were read but are pending, the pending lists
// keep the ids.
const scriptRetain = luaLess + `
local maxlen, minid, maxage, drop, how = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4] == 'drop', ARGV[5]
local cap, capdrop = tonumber(ARGV[7]), ARGV[8] == 'drop'
local function behind(id)
  local ms, seq = id:match('^(%d+)-(%d+)$')
  if not ms then ms, seq = id, '0' end
  if #seq > 15 then return id end
  return ms..'-'..string.format('%.0f', seq + 1)
end
local start = redis.call('XLEN', KEYS[1])
if start == 0 then return {0, 0, 0, 0} end
local first, groups, safe, unread = nil, {}, nil, nil
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  first = first or redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
  local f = {}
  for i = 1, #g, 2 do f[g[i]] = g[i+1] end
  groups[#groups+1] = f['name']
  local n = behind(f['last-delivered-id'])
  if not unread or less(n, unread) then unread = n end
  local p = redis.call('XPENDING', KEYS[1], f['name'], first, '+', 1)
  if p[1] and (not safe or less(p[1][1], safe)) then safe = p[1][1] end
end
if unread and (not safe or less(unread, safe)) then safe = unread end
local function shrink(n, allow, how)
  local over = redis.call('XLEN', KEYS[1]) - n
  if over <= 0 then return end
  if not allow then redis.call('XTRIM', KEYS[1], 'MAXLEN', how, n) return end
  redis.call('XTRIM', KEYS[1], 'MINID', '~', allow, 'LIMIT', over)
  over = redis.call('XLEN', KEYS[1]) - n
  if how == '~' or over <= 0 then return end
  local e = redis.call('XRANGE', KEYS[1], '-', '('..allow, 'COUNT', over)
  if #e == over then allow = behind(e[over][1]) end
  if #e > 0 then redis.call('XTRIM', KEYS[1], 'MINID', '=', allow) end
end
local lost, lossy = 0, false
local function shrinkTo(n, drop, how)
  if not drop then shrink(n, safe, how) return end
  if unread then shrink(n, unread, '=') end
  lossy = true
  local d = redis.call('XTRIM', KEYS[1], 'MAXLEN', how, n)
  if unread then lost = lost + d end
end
if maxage >= 0 then
  local t = redis.call('TIME')
  local id = string.format('%.0f', math.max(0, t[1] * 1000 + math.floor(t[2] / 1000) - maxage))..'-0'
  if minid == '' or less(minid, id) then minid = id end
end
if minid == '+' then minid = safe or '' end
if minid ~= '' then
  local allow = drop and unread or safe
  if not allow or less(minid, allow) then allow = minid end
  if drop and unread and less(unread, minid) then
    lossy = true
    redis.call('XTRIM', KEYS[1], 'MINID', '=', allow)
    lost = lost + redis.call('XTRIM', KEYS[1], 'MINID', how, minid)
  else
    lossy = lossy or drop
    redis.call('XTRIM', KEYS[1], 'MINID', how, allow)
  end
end
if maxlen >= 0 then shrinkTo(maxlen, drop, how) end
if cap >= 0 and (capdrop or unread) then shrinkTo(cap, capdrop, '=') end
local bytes, budget = -1, tonumber(ARGV[9])
if budget >= 0 then
  local function size()
    local m = redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 0)
    if type(m) == 'number' then return m end
    return redis.call('XLEN', KEYS[1]) * tonumber(ARGV[10])
  end
  bytes = size()
  for i = 1, 8 do
    local n = redis.call('XLEN', KEYS[1])
    if bytes <= budget or n == 0 or not (drop or capdrop or unread) then break end
    shrinkTo(math.min(n - 1, math.floor(n * budget / bytes * 0.9)), drop or capdrop, '=')
    if redis.call('XLEN', KEYS[1]) == n then break end
    bytes = size()
  end
end
local len = redis.call('XLEN', KEYS[1])
if ARGV[6] == 'acked' and safe and less(safe, unread) and len <= 10000 then
  local most = maxlen >= 0 and not drop and maxlen or len
  if cap >= 0 and not capdrop and cap < most then most = cap end
  if most < len then redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', most, 'ACKED') end
  if minid ~= '' and ARGV[2] ~= '+' and not drop then redis.call('XTRIM', KEYS[1], 'MINID', '=', minid, 'ACKED') end
  len = redis.call('XLEN', KEYS[1])
end
if lossy and unread and len < start and less(first, unread) then
  local now = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local stop = '('..unread
  if now and less(now[1], unread) then stop = '('..now[1] end
  local seen = {}
  for _, g in ipairs(groups) do
    local from = first
    repeat
      local p = redis.call('XPENDING', KEYS[1], g, from, stop, 100)
      for _, e in ipairs(p) do
        if not seen[e[1]] then seen[e[1]] = true; lost = lost + 1 end
        from = '('..e[1]
      end
    until #p < 100 or from == stop
  end
end
return {start - len, lost, len, bytes}`

func (c *WriterConfig) trims() bool { return c.MaxLen > 0 || c.MinID != "" || c.MaxAge > 0 }

// every is how many entries may be written before the stream is trimmed again, and for how long.
func (c *WriterConfig) every() (int, time.Duration) {
	if c.Exact {
		return 0, 0
	}
	entries, d := 1000, 10*time.Second
	if c.MaxLen > 0 {
		entries = int(min(max(c.MaxLen/10, 100), 1000))
	}
	if c.MaxAge > 0 {
		d = min(max(c.MaxAge/10, 100*time.Millisecond), d)
	}
	return entries, d
}

func keepOrDrop(drop bool) string {
	if drop {
		return "drop"
	}
	return "keep"
}

// retain makes the call of scriptRetain. cap is -1, or the length to shrink to, and budget is -1,
// or the bytes.
func (w *Writer) retain(ctx context.Context, key string, l *lane, cap, budget int64) *redis.Cmd {
	c := &w.cfg
	maxLen, maxAge, how, acked := int64(-1), int64(-1), "~", ""
	if c.MaxLen > 0 {
		maxLen = c.MaxLen
	}
	if c.MaxAge > 0 {
		maxAge = c.MaxAge.Milliseconds()
	}
	if c.Exact {
		how = "="
	}
	if w.acked {
		acked = "acked"
	}
	l.mu.Lock()
	average := l.average
	l.mu.Unlock()
	cmd := redis.NewCmd(
		ctx,
		"eval",
		scriptRetain,
		1,
		key,
		maxLen,
		c.MinID,
		maxAge,
		keepOrDrop(c.DropUnread),
		how,
		acked,
		cap,
		keepOrDrop(c.WhenFull == FullDrop),
		budget,
		average,
	)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// retained reads the reply of scriptRetain, and tells of losses.
func (w *Writer) retained(key string, cmd *redis.Cmd) (length, bytes int64, err error) {
	n, err := cmd.Int64Slice()
	if err == nil && len(n) != 4 {
		err = &ReplyError{0, "the script answered something else than four numbers"}
	}
	if err != nil {
		return 0, 0, err
	}
	w.stats.trimmed.Add(n[0])
	if n[1] > 0 {
		w.stats.lost.Add(n[1])
		w.emit(Event{Kind: EventDropped, Key: key, Count: int(n[1])})
	}
	return n[2], n[3], nil
}

// admit reserves places below the cap, and refuses the entries that there is no place for. It asks the server, which
// drops what the groups are done with, when there seems to be too little room.
func (w *Writer) admit(ctx context.Context, p *part, results []Result) {
	if w.cfg.HardCap == 0 || w.cfg.WhenFull == FullDrop {
		return
	}
	l, n := p.lane, int64(len(p.index))
	l.mu.Lock()
	enough := l.known && l.length+l.reserved+n <= w.cfg.HardCap
	l.mu.Unlock()
	if !enough {
		cmd := w.retain(ctx, p.key, l, max(w.cfg.HardCap-n, 0), -1)
		_ = w.out.Process(ctx, cmd) // the command has the error
		length, _, err := w.retained(p.key, cmd)
		if err != nil {
			if judge(err) == moved {
				w.out.redirected()
			}
			p.fail(results, &outcomeError{ErrNotWritten, err})
			return
		}
		l.mu.Lock()
		l.known, l.length = true, length
		l.mu.Unlock()
	}
	l.mu.Lock()
	p.reserved = min(max(w.cfg.HardCap-l.length-l.reserved, 0), n)
	l.reserved += p.reserved
	length := l.length + l.reserved
	l.mu.Unlock()
	for _, i := range p.index[p.reserved:] {
		results[i] = Result{Err: &StreamFullError{Key: p.key, Length: length, Cap: w.cfg.HardCap, Full: w.cfg.WhenFull}}
	}
	p.index = p.index[:p.reserved]
}

// queueTrim adds the trimming if it is due, else, if there is a cap, the question for the length.
func (w *Writer) queueTrim(ctx context.Context, c *chunk, p *part, now time.Time) {
	if !w.cfg.trims() && w.cfg.HardCap == 0 && w.cfg.MaxBytes == 0 {
		return
	}
	entries, interval := w.cfg.every()
	l, cap, budget := p.lane, int64(-1), int64(-1)
	if w.cfg.MaxBytes > 0 {
		budget = w.cfg.MaxBytes
	}
	if w.cfg.WhenFull == FullDrop && w.cfg.HardCap > 0 {
		cap = w.cfg.HardCap
	}
	l.mu.Lock()
	l.since += len(p.index)
	due := w.cfg.trims() && (l.since >= entries || now.Sub(l.trimmed) >= interval) ||
		cap > 0 && (!l.known || l.length+int64(len(p.index)) > cap) || w.overweight(l, now)
	if due {
		l.since, l.trimmed = 0, now
	}
	l.mu.Unlock()
	switch {
	case due:
		p.trim = w.retain(ctx, p.key, l, cap, budget)
		c.queue = append(c.queue, p.trim)
	case w.cfg.HardCap > 0:
		p.length = redis.NewIntCmd(ctx, "xlen", p.key)
		c.queue = append(c.queue, p.length)
	}
}

// settleTrim takes note of the length.
func (w *Writer) settleTrim(p *part, written int64) {
	var length int64
	bytes, err := int64(-1), errNoLength
	if p.trim != nil {
		if length, bytes, err = w.retained(p.key, p.trim); err != nil && isServerSaid(err) && !isFull(err) &&
			judge(err) != moved {
			w.emit(Event{Kind: EventTrimFailed, Key: p.key, Err: err})
		}
	} else if p.length != nil {
		length, err = p.length.Result()
	}
	l := p.lane
	l.mu.Lock()
	l.reserved -= p.reserved
	if err == nil && bytes >= 0 {
		l.weighed(bytes, time.Now())
	}
	if err == nil {
		l.known, l.length = true, length
	} else {
		l.length += written
	}
	l.mu.Unlock()
	p.reserved = 0
}

var errNoLength = errors.New("redisio: the length is not known")

// probeKey is a scratch key, on the node that has the writer's key.
func (w *Writer) probeKey() string {
	return "redisio:probe:" + rand.Text()[:12] + ":{" + hashTag(w.cfg.Key) + "}"
}

// probeAcked finds out whether XTRIM … ACKED keeps what it should, which the first servers that had it didn't. A user
// without rights for the scratch key goes without.
func (w *Writer) probeAcked(ctx context.Context) (bool, error) {
	if w.cfg.DropUnread || !w.cfg.trims() && (w.cfg.HardCap == 0 || w.cfg.WhenFull == FullDrop) {
		return false, nil
	}
	key := w.probeKey()
	pipe := w.out.Pipeline()
	for _, id := range []string{"1-1", "2-1", "3-1", "4-1", "5-1"} {
		pipe.Do(ctx, "xadd", key, id, "f", "v")
	}
	pipe.PExpire(ctx, key, time.Minute)
	pipe.XGroupCreate(ctx, key, "g", "0")
	pipe.XGroupCreate(ctx, key, "h", "5-1")
	pipe.XGroupDestroy(ctx, key, "h")
	pipe.Do(ctx, "xreadgroup", "group", "g", "c", "count", 3, "streams", key, ">")
	pipe.XAck(ctx, key, "g", "1-1", "3-1")
	pipe.Do(ctx, "xtrim", key, "maxlen", "=", 0, "acked")
	left := pipe.XRange(ctx, key, "-", "+")
	pipe.Del(ctx, key)
	if _, err := pipe.Exec(ctx); err != nil && !isFull(err) && (!isServerSaid(err) || judge(err) != permanent) {
		return false, fmt.Errorf("redisio: probe: %w", err)
	}
	got := left.Val()
	return len(got) == 3 && got[0].ID == "2-1" && got[1].ID == "4-1" && got[2].ID == "5-1", nil
}
