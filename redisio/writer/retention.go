package writer

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Stats count what a writer did since it was opened.
type Stats struct {
	Duplicates int64 // entries that were not written, because they were there
	Trimmed    int64 // entries dropped by retention and at the cap
	Lost       int64 // those of them that some group had not read or not settled
}

// trimmer applies retention and the caps to the streams that a writer writes. It is safe for
// concurrent use.
type trimmer struct {
	*sender
	lanes                     lanes
	acked                     bool // the server can trim acked entries around pending ones
	duplicates, trimmed, lost atomic.Int64
}

// Stats returns the counts so far.
func (tr *trimmer) Stats() Stats {
	return Stats{tr.duplicates.Load(), tr.trimmed.Load(), tr.lost.Load()}
}

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

// addRetain adds the call of scriptRetain. cap is the length to shrink to, and budget the bytes; -1
// means no limit. reply reads its reply, by readRetention.
func (tr *trimmer) addRetain(c *chunk, p *part, cap, budget int64, reply func(*chunk, int)) {
	cfg := tr.cfg
	maxLen, maxAge, how, acked := int64(-1), int64(-1), "~", ""
	if cfg.MaxLen > 0 {
		maxLen = cfg.MaxLen
	}
	if cfg.MaxAge > 0 {
		maxAge = cfg.MaxAge.Milliseconds()
	}
	if cfg.Exact {
		how = "="
	}
	if tr.acked {
		acked = "acked"
	}
	p.lane.mu.Lock()
	average := p.lane.budget.average
	p.lane.mu.Unlock()
	c.ask(3, reply, "eval", scriptRetain, 1, p.key, maxLen, cfg.MinID, maxAge, keepOrDrop(cfg.DropUnread), how, acked,
		cap, keepOrDrop(cfg.WhenFull == FullDrop), budget, average, script.TrimStep)
}

// retention is the reply of scriptRetain.
type retention struct {
	trimmed, lost int64 // entries dropped, and those of them that a group needed
	length, bytes int64
	more          bool           // one call did not suffice
	kept          *HeldBackError // nil: no group keeps what should be dropped
}

// readRetention reads the reply of scriptRetain.
func (r *replies) readRetention(key string) (t retention, err error) {
	if err := r.list(10); err != nil {
		return t, err
	}
	var n [10]int64
	var text [10]string
	for i := range n {
		if i == 5 || i == 9 {
			text[i], err = r.text()
		} else {
			n[i], err = r.number()
		}
		if err != nil {
			return t, err
		}
	}
	t = retention{trimmed: n[0], lost: n[1], length: n[2], bytes: n[3], more: n[4] == 1}
	if text[5] != "" {
		t.kept = &HeldBackError{Key: key, Group: strings.Clone(text[5]), Length: n[2], Lag: n[6], Pending: n[7],
			Consumers: n[8], Oldest: strings.Clone(text[9])}
	}
	return t, nil
}

// count counts dropped entries, and reports losses.
func (tr *trimmer) count(key string, trimmed, lost int64) {
	tr.trimmed.Add(trimmed)
	if lost > 0 {
		tr.lost.Add(lost)
		tr.cfg.emit(redisio.Event{Kind: redisio.EventDropped, Key: key, Count: int(lost)})
	}
}

// trimSteps is how many scripts one write runs for a stream. The next write continues.
const trimSteps = 16

// shrink calls scriptRetain until everything is dropped that may be, at most trimSteps times.
func (tr *trimmer) shrink(ctx context.Context, c *chunk, p *part, cap, budget int64) (r retention, err error) {
	for range trimSteps {
		tr.addRetain(c, p, cap, budget, func(c *chunk, _ int) { r, err = c.replies.readRetention(p.key) })
		tr.do(ctx, c, nil)
		if err != nil {
			break
		}
		if tr.count(p.key, r.trimmed, r.lost); !r.more {
			break
		}
	}
	return r, err
}

// admit reserves places below the cap, and refuses the entries for which there is no place. If there
// seems to be too little room it asks the server, which drops what the groups have settled.
func (tr *trimmer) admit(ctx context.Context, c *chunk, p *part) {
	if tr.cfg.HardCap == 0 || tr.cfg.WhenFull == FullDrop {
		return
	}
	l, n := p.lane, int64(len(p.index))
	l.mu.Lock()
	enough := l.known && l.length+l.reserved+n <= tr.cfg.HardCap
	var kept *HeldBackError
	l.mu.Unlock()
	if !enough {
		r, err := tr.shrink(ctx, c, p, max(tr.cfg.HardCap-n, 0), -1)
		if err != nil {
			p.fail(c.results, &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err})
			return
		}
		kept = r.kept
		l.mu.Lock()
		l.known, l.length = true, r.length
		l.mu.Unlock()
	}
	l.mu.Lock()
	p.reserved = min(max(tr.cfg.HardCap-l.length-l.reserved, 0), n)
	l.reserved += p.reserved
	length := l.length + l.reserved
	l.mu.Unlock()
	for _, i := range p.index[p.reserved:] {
		c.results[i] = redisio.Result{
			Err: &StreamFullError{Key: p.key, Length: length, Cap: tr.cfg.HardCap, Group: kept.group(),
				Full: tr.cfg.WhenFull},
		}
	}
	p.index = p.index[:p.reserved]
}

// trimming is what a pipeline asks about the length of one stream.
type trimming struct {
	retention
	cap, budget int64
	script      bool  // it trims, else it only asks for the length
	err         error // why the length is unknown
}

var errNoLength = errors.New("redisio: the length is not known")

// addTrim adds the trimming if it is due, else, if there is a cap, the question for the length.
func (tr *trimmer) addTrim(c *chunk, p *part, now time.Time) {
	p.trim = trimming{retention: retention{bytes: -1}, cap: -1, budget: -1, err: errNoLength}
	if !tr.cfg.trims() && tr.cfg.HardCap == 0 && tr.cfg.MaxBytes == 0 {
		return
	}
	entries, interval := tr.cfg.every()
	l, t := p.lane, &p.trim
	if tr.cfg.MaxBytes > 0 {
		t.budget = tr.cfg.MaxBytes
	}
	if tr.cfg.WhenFull == FullDrop && tr.cfg.HardCap > 0 {
		t.cap = tr.cfg.HardCap
	}
	l.mu.Lock()
	l.since += len(p.index)
	due := l.behind || tr.cfg.trims() && (l.since >= entries || now.Sub(l.trimmed) >= interval) ||
		t.cap > 0 && (!l.known || l.length+int64(len(p.index)) > t.cap) || l.budget.overweight(tr.cfg.MaxBytes, now)
	if due {
		l.since, l.trimmed = 0, now
	}
	l.mu.Unlock()
	switch {
	case due:
		t.script = true
		tr.addRetain(c, p, t.cap, t.budget, p.readTrim)
	case tr.cfg.HardCap > 0:
		c.ask(1, func(c *chunk, _ int) { t.length, t.err = c.replies.number() }, "xlen", p.key)
	}
}

func (p *part) readTrim(c *chunk, _ int) {
	p.trim.retention, p.trim.err = c.replies.readRetention(p.key)
}

// settleTrim records the length, and reports what the trimming did.
func (tr *trimmer) settleTrim(p *part) {
	t, l, now := &p.trim, p.lane, time.Now()
	switch {
	case t.script && t.err == nil:
		tr.count(p.key, t.trimmed, t.lost)
	case t.script && fault.IsServerSaid(t.err) && !fault.IsFull(t.err) && fault.Judge(t.err) != fault.Moved:
		tr.cfg.emit(redisio.Event{Kind: redisio.EventTrimFailed, Key: p.key, Err: t.err})
	}
	l.mu.Lock()
	l.reserved -= p.reserved
	if t.err == nil && t.script && t.bytes >= 0 {
		l.budget.weighed(t.bytes, now)
	}
	if t.err == nil {
		l.known, l.length = true, t.length
	} else {
		l.length += p.written
	}
	l.behind = t.more
	l.mu.Unlock()
	p.reserved, p.written = 0, 0
	tr.tellHeldBack(l, t.kept, now)
}

// trimOn continues a trimming that one script did not finish.
func (tr *trimmer) trimOn(ctx context.Context, c *chunk, p *part) {
	for step := 1; step < trimSteps && p.trim.more; step++ {
		tr.addRetain(c, p, p.trim.cap, p.trim.budget, p.readTrim)
		tr.do(ctx, c, nil)
		tr.settleTrim(p)
	}
}
