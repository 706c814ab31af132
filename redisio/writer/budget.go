package writer

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// A stream's budget of bytes. Idea: the server measures the stream (MEMORY USAGE) when it is
// trimmed, and the writer adds what it has written since. It measures again if the sum seems too
// large, or once a second.

const (
	// measureEvery is how long a measurement is valid while entries are written.
	measureEvery = time.Second
	// entryBytes is the approximate memory that Redis and the groups need for an entry, besides its
	// names and values.
	entryBytes = 64
	// fullFor is how long a writer refuses entries for a full stream before it asks the server
	// again.
	fullFor = 100 * time.Millisecond
	// minBudget is the smallest MaxBytes: a node of a stream takes about 4 KiB, and a group takes
	// more.
	minBudget = 64 << 10
)

// budget is what a writer knows about the memory of one stream.
type budget struct {
	measured  bool // the server said bytes at weighedAt
	bytes     int64
	fresh     int64 // bytes written since
	average   int64 // bytes of an entry
	weighedAt time.Time
	fullUntil time.Time      // the stream was full, and the server is not asked again until then
	fullBy    *HeldBackError // why
	oom       bool           // the server was out of memory
	relief    time.Time      // when to make room for that again, at the earliest
}

// weight returns the approximate memory that Redis needs for the entries of a part.
func (p *part) weight(entries []redisio.Outgoing) (n int64) {
	for _, i := range p.index {
		n += int64(entries[i].Fields.Size()) + entryBytes
	}
	return n
}

// afford refuses the entries that MaxBytes has no room for. If there seems to be too little room it
// asks the server, which drops what the groups have settled. After the server was out of memory,
// half of that is dropped so that the server recovers.
func (tr *trimmer) afford(ctx context.Context, c *chunk, p *part, now time.Time) {
	if tr.cfg.MaxBytes == 0 || len(p.index) == 0 {
		return
	}
	p.bytes = p.weight(c.entries)
	l, b, drops := p.lane, &p.lane.budget, tr.cfg.dropsBytes()
	l.mu.Lock()
	b.average = (b.average + p.bytes/int64(len(p.index)) + 1) / 2
	enough := drops || b.measured && b.bytes+b.fresh+p.bytes <= tr.cfg.MaxBytes
	full := !drops && now.Before(b.fullUntil)
	room := max(tr.cfg.MaxBytes-p.bytes, 0)
	relieve := b.oom && !now.Before(b.relief)
	if relieve && b.measured {
		b.oom, b.relief, room = false, now.Add(measureEvery), min(room, (b.bytes+b.fresh)/2)
	}
	bytes, length, kept := b.bytes, l.length, b.fullBy
	l.mu.Unlock()
	switch {
	case relieve || !enough && !full:
		r, err := tr.measure(ctx, c, p, room)
		if err != nil {
			p.fail(c.results, &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err})
			return
		}
		length, bytes, kept = r.length, r.bytes, r.kept
		if enough = drops || bytes+p.bytes <= tr.cfg.MaxBytes; !enough {
			l.mu.Lock()
			b.fullUntil, b.fullBy = now.Add(fullFor), kept
			l.mu.Unlock()
		}
	case full:
		enough = false
	}
	if !enough {
		p.fail(c.results, &StreamFullError{Key: p.key, Length: length, Cap: tr.cfg.HardCap, Bytes: bytes,
			MaxBytes: tr.cfg.MaxBytes, Group: kept.group(), Full: tr.cfg.WhenFull})
		return
	}
	l.mu.Lock()
	b.fresh += p.bytes
	l.mu.Unlock()
}

// measure makes the server shrink a stream to room, as far as it may, and records the size.
func (tr *trimmer) measure(ctx context.Context, c *chunk, p *part, room int64) (retention, error) {
	r, err := tr.shrink(ctx, c, p, -1, room)
	if err == nil {
		p.lane.mu.Lock()
		p.lane.budget.weighed(r.bytes, time.Now())
		p.lane.mu.Unlock()
	}
	return r, err
}

// weighed records a measurement. The lane's lock is held.
func (b *budget) weighed(bytes int64, now time.Time) {
	b.measured, b.bytes, b.fresh, b.weighedAt = true, bytes, 0, now
}

// overweight reports whether to measure the stream again. The lane's lock is held.
func (b *budget) overweight(most int64, now time.Time) bool {
	return most > 0 && (!b.measured || b.fresh >= most/16 || b.bytes+b.fresh > most ||
		b.fresh > 0 && now.Sub(b.weighedAt) >= measureEvery)
}

// bound keeps existing streams within MaxBytes, after a pipeline was written to them.
//
// Idea: there may be any number of such streams, most of them small, so the writer remembers none
// of them. It adds up the bytes of the pipeline and measures a stream at every sixteenth of
// MaxBytes, beginning at a random byte. The probability that an entry causes a measurement is its
// size divided by that sixteenth. So each stream is measured after a sixteenth on average.
func (tr *trimmer) bound(ctx context.Context, c *chunk) {
	step := tr.cfg.MaxBytes / 16
	var keys []string
	at, total, n := rand.Int64N(step), int64(0), int64(0) // at: bytes until the next measurement
	for i := range c.entries {
		if c.results[i].Err != nil {
			continue
		}
		size := int64(c.entries[i].Fields.Size()) + entryBytes
		total, n = total+size, n+1
		if at -= size; at >= 0 {
			continue
		}
		at = (at%step + step) % step
		if key := tr.keyOf(&c.entries[i]); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		tr.boundStream(ctx, c, key, total/n)
	}
}

// boundStream drops the oldest entries of a stream that takes more than MaxBytes. average is the
// size of an entry, for servers and users without MEMORY.
func (tr *trimmer) boundStream(ctx context.Context, c *chunk, key string, average int64) {
	var dropped, keep int64
	var err error
	for range trimSteps {
		if keep, err = tr.fitting(ctx, c, key, average); err != nil || keep == 0 {
			break
		}
		var n int64
		c.ask(1, func(c *chunk, _ int) { n, err = c.replies.number() }, "xtrim", key, "maxlen", keep)
		if tr.do(ctx, c, nil); err != nil || n == 0 {
			break
		}
		dropped += n
	}
	if fault.IsServerSaid(err) && fault.Judge(err) != fault.Moved {
		tr.cfg.emit(redisio.Event{Kind: redisio.EventTrimFailed, Key: key, Err: err})
	}
	tr.count(key, dropped, dropped)
}

// fitting returns the number of entries to which one step trims a stream, or 0 if it needs no
// trimming.
func (tr *trimmer) fitting(ctx context.Context, c *chunk, key string, average int64) (int64, error) {
	var size, n int64
	var sizeErr, err error
	c.ask(2, func(c *chunk, _ int) { size, sizeErr = c.replies.number() }, "memory", "usage", key, "samples", 0)
	c.ask(1, func(c *chunk, _ int) { n, err = c.replies.number() }, "xlen", key)
	tr.do(ctx, c, nil)
	switch {
	case err != nil || n < 2 || sizeErr == resp.ErrNilReply: // nil: the stream was deleted
		return 0, err
	case fault.IsServerSaid(sizeErr) && fault.Judge(sizeErr) == fault.Permanent:
		size = n * average
	case sizeErr != nil:
		return 0, sizeErr
	}
	if size <= tr.cfg.MaxBytes {
		return 0, nil
	}
	keep := max(1, int64(float64(n)*float64(tr.cfg.MaxBytes)/float64(size)*0.9))
	return max(keep, n-script.TrimStep), nil
}
