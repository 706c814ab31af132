package writer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
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
	Group    string // the group that is not done with the oldest entries; "" if that is not known
	Full     Full   // the policy
}

func (e *StreamFullError) Error() string {
	size, of, raise := e.Length, e.Cap, "HardCap"
	unit := "entries"
	if e.Bytes > 0 {
		size, of, unit, raise = e.Bytes, e.MaxBytes, "bytes", "MaxBytes"
	}
	by := "its groups are"
	if e.Group != "" {
		by = fmt.Sprintf("its group %q is", fault.KeyName(e.Group))
	}
	return fmt.Sprintf(
		"redisio: %q is full: %d of %d %s, and %s not done with the oldest; add consumers, or raise %s",
		fault.KeyName(e.Key),
		size,
		of,
		unit,
		by,
		raise,
	)
}

// Is reports a StreamFullError as not written, and as backpressure unless the policy is to refuse.
func (e *StreamFullError) Is(target error) bool {
	return target == redisio.ErrNotWritten || target == redisio.ErrBackpressure && e.Full != FullRefuse
}

// scriptRetain: KEYS stream. ARGV most entries or -1; smallest id, "" for any, "+" for all that
// groups are done with; most age in ms or -1; "drop" or "keep" what groups need; "~" or "=";
// "acked" if the server can trim around what is pending; hard cap or -1; "drop" or "keep" at the
// cap; most bytes or -1; what an entry takes, for servers that do not tell; how many entries to drop
// at most. Returns how many entries went; how many of them some group had not read or had pending;
// how many there are; how many bytes they take, or -1; 1 if there is more to drop; and the group that
// keeps what should go, its lag or -1, its pending entries, its consumers, and from which id on it
// keeps entries. The group is "" if no group does.
//
// A stream without groups is trimmed by "~" without XRANGE: who may trim it need not be able to
// read it.
//
// What is dropped without loss goes first and exactly, so that all that is dropped then is lost,
// and counted by the trimming itself. Of entries that were read but are pending, the pending lists
// keep the ids.
//
// No call takes long. It drops whole nodes by "~" and LIMIT. When it has dropped more than half of
// what it may, it stops and says that there is more. So what is left for "=" lies in one node. Of
// the pending lists it reads 20,000 entries at most.
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

func (c *Config) trims() bool { return c.MaxLen > 0 || c.MinID != "" || c.MaxAge > 0 }

// every is how many entries may be written before the stream is trimmed again, and for how long.
func (c *Config) every() (int, time.Duration) {
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
		script.TrimStep,
	)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// retention is the reply of scriptRetain.
type retention struct {
	length, bytes int64
	more          bool           // one call did not do
	kept          *HeldBackError // nil: no group keeps what should go
}

// retained reads the reply of scriptRetain, and tells of losses.
func (w *Writer) retained(key string, cmd *redis.Cmd) (r retention, err error) {
	reply, err := cmd.Slice()
	if err != nil {
		return r, err
	}
	n, text, ok := [10]int64{}, [10]string{}, len(reply) == 10
	for i := 0; ok && i < len(reply); i++ {
		if i == 5 || i == 9 {
			text[i], ok = reply[i].(string)
		} else {
			n[i], ok = reply[i].(int64)
		}
	}
	if !ok {
		return r, &resp.ReplyError{Offset: 0, Problem: "the script answered something else than numbers and a group"}
	}
	w.stats.trimmed.Add(n[0])
	if n[1] > 0 {
		w.stats.lost.Add(n[1])
		w.emit(redisio.Event{Kind: redisio.EventDropped, Key: key, Count: int(n[1])})
	}
	r = retention{length: n[2], bytes: n[3], more: n[4] == 1}
	if text[5] != "" {
		r.kept = &HeldBackError{Key: key, Group: text[5], Length: n[2], Lag: n[6], Pending: n[7], Consumers: n[8],
			Oldest: text[9]}
	}
	return r, nil
}

// trimSteps is how many scripts one write has for a stream. The next write goes on.
const trimSteps = 16

// shrink calls scriptRetain until all is dropped that may go, or for trimSteps.
func (w *Writer) shrink(ctx context.Context, p *part, cap, budget int64) (r retention, err error) {
	for range trimSteps {
		cmd := w.retain(ctx, p.key, p.lane, cap, budget)
		_ = w.out.Process(ctx, cmd) // the command has the error
		if r, err = w.retained(p.key, cmd); err != nil || !r.more {
			break
		}
	}
	if err != nil && fault.Judge(err) == fault.Moved {
		w.out.Redirected()
	}
	return r, err
}

// HeldBackError is a group that keeps a stream from being trimmed, because it is not done with the
// oldest entries. It may have been abandoned.
type HeldBackError struct {
	Key       string
	Group     string
	Length    int64  // of the stream
	Lag       int64  // entries that the group has not read; -1 if the server does not know
	Pending   int64  // entries that it has read and not settled
	Consumers int64  // of the group
	Oldest    string // the ID from which on the group keeps entries
}

func (e *HeldBackError) group() string {
	if e == nil {
		return ""
	}
	return e.Group
}

func (e *HeldBackError) Error() string {
	lag := "an unknown number"
	if e.Lag >= 0 {
		lag = strconv.FormatInt(e.Lag, 10)
	}
	return fmt.Sprintf(
		"group %q keeps %q at %s: %s unread, %d pending, %s; add consumers, or delete the group (XGROUP DESTROY)",
		fault.KeyName(e.Group),
		fault.KeyName(e.Key),
		fault.Plural(e.Length, "entry", "entries"),
		lag,
		e.Pending,
		fault.Plural(e.Consumers, "consumer", "consumers"),
	)
}

const (
	// heldBackAfter is how long a group has to stand still until it is named.
	heldBackAfter = time.Minute
	// heldBackEvery is how often it is named.
	heldBackEvery = 10 * time.Minute
	// heldBackMost is how many groups of a stream are remembered for that.
	heldBackMost = 64
)

// stalled is a group that keeps a stream long.
type stalled struct {
	oldest string    // from which ID on
	since  time.Time // when this was seen first
	told   time.Time // when the group was named last
}

// tellHeldBack names the group if it stands still, unless it was named lately. A group that only
// lags moves on between two trimmings.
func (w *Writer) tellHeldBack(l *lane, kept *HeldBackError, now time.Time) {
	if kept == nil {
		return
	}
	l.mu.Lock()
	s := l.heldBack[kept.Group]
	if s.oldest != kept.Oldest {
		s.oldest, s.since = kept.Oldest, now
	}
	news := now.Sub(s.since) >= heldBackAfter && now.Sub(s.told) >= heldBackEvery
	if news {
		s.told = now
	}
	if _, known := l.heldBack[kept.Group]; l.heldBack == nil || !known && len(l.heldBack) >= heldBackMost {
		l.heldBack = make(map[string]stalled)
	}
	l.heldBack[kept.Group] = s
	l.mu.Unlock()
	if news {
		w.emit(
			redisio.Event{
				Kind:  redisio.EventHeldBack,
				Key:   kept.Key,
				Group: kept.Group,
				Count: int(kept.Length),
				Err:   kept,
			},
		)
	}
}

// admit reserves places below the cap, and refuses the entries that there is no place for. It asks the server, which
// drops what the groups are done with, when there seems to be too little room.
func (w *Writer) admit(ctx context.Context, p *part, results []redisio.Result) {
	if w.cfg.HardCap == 0 || w.cfg.WhenFull == FullDrop {
		return
	}
	l, n := p.lane, int64(len(p.index))
	l.mu.Lock()
	enough := l.known && l.length+l.reserved+n <= w.cfg.HardCap
	var kept *HeldBackError
	l.mu.Unlock()
	if !enough {
		r, err := w.shrink(ctx, p, max(w.cfg.HardCap-n, 0), -1)
		if err != nil {
			p.fail(results, &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err})
			return
		}
		kept = r.kept
		l.mu.Lock()
		l.known, l.length = true, r.length
		l.mu.Unlock()
	}
	l.mu.Lock()
	p.reserved = min(max(w.cfg.HardCap-l.length-l.reserved, 0), n)
	l.reserved += p.reserved
	length := l.length + l.reserved
	l.mu.Unlock()
	for _, i := range p.index[p.reserved:] {
		results[i] = redisio.Result{
			Err: &StreamFullError{Key: p.key, Length: length, Cap: w.cfg.HardCap, Group: kept.group(),
				Full: w.cfg.WhenFull},
		}
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
	due := l.behind || w.cfg.trims() && (l.since >= entries || now.Sub(l.trimmed) >= interval) ||
		cap > 0 && (!l.known || l.length+int64(len(p.index)) > cap) || w.overweight(l, now)
	if due {
		l.since, l.trimmed = 0, now
	}
	l.mu.Unlock()
	switch {
	case due:
		p.cap, p.budget = cap, budget
		p.trim = w.retain(ctx, p.key, l, cap, budget)
		c.queue = append(c.queue, p.trim)
	case w.cfg.HardCap > 0:
		p.length = redis.NewIntCmd(ctx, "xlen", p.key)
		c.queue = append(c.queue, p.length)
	}
}

// settleTrim takes note of the length.
func (w *Writer) settleTrim(p *part, written int64) {
	r, err := retention{bytes: -1}, errNoLength
	if p.trim != nil {
		if r, err = w.retained(p.key, p.trim); err != nil && fault.IsServerSaid(err) && !fault.IsFull(err) &&
			fault.Judge(err) != fault.Moved {
			w.emit(redisio.Event{Kind: redisio.EventTrimFailed, Key: p.key, Err: err})
		}
	} else if p.length != nil {
		r.length, err = p.length.Result()
	}
	l, now := p.lane, time.Now()
	l.mu.Lock()
	l.reserved -= p.reserved
	if err == nil && r.bytes >= 0 {
		l.weighed(r.bytes, now)
	}
	if err == nil {
		l.known, l.length = true, r.length
	} else {
		l.length += written
	}
	l.behind = r.more
	l.mu.Unlock()
	p.reserved, p.more = 0, r.more
	w.tellHeldBack(l, r.kept, now)
}

// trimOn goes on with a trimming that one script did not finish.
func (w *Writer) trimOn(ctx context.Context, p *part) {
	for step := 1; step < trimSteps && p.more; step++ {
		p.trim = w.retain(ctx, p.key, p.lane, p.cap, p.budget)
		_ = w.out.Process(ctx, p.trim) // the command has the error
		w.settleTrim(p, 0)
	}
}

var errNoLength = errors.New("redisio: the length is not known")

// probeKey is a scratch key, on the node that has the writer's key.
func (w *Writer) probeKey() string {
	return "redisio:probe:" + rand.Text()[:12] + ":{" + redisio.HashTag(w.cfg.Key) + "}"
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
	if _, err := pipe.Exec(ctx); err != nil && !fault.IsFull(err) &&
		(!fault.IsServerSaid(err) || fault.Judge(err) != fault.Permanent) {
		return false, fmt.Errorf("redisio: probe: %w", err)
	}
	got := left.Val()
	return len(got) == 3 && got[0].ID == "2-1" && got[1].ID == "4-1" && got[2].ID == "5-1", nil
}
