package writer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

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
