package writer

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// A stream's budget of bytes. Idea: the server measures the stream (MEMORY USAGE) when it is
// trimmed, and the writer adds what it has written since. It asks again when that seems to be too
// much, or once a second.

const (
	// measureEvery is how long a measurement is good for, while entries are written.
	measureEvery = time.Second
	// entryBytes is what Redis and the groups need for an entry beside its names and values,
	// roughly.
	entryBytes = 64
	// fullFor is how long a writer refuses entries of a stream that had no room, without asking
	// again.
	fullFor = 100 * time.Millisecond
	// minBudget is the least MaxBytes: a node of a stream takes some 4 KiB, and a group some more.
	minBudget = 64 << 10
)

// weight is what Redis needs for the entries of a part, roughly.
func (p *part) weight(entries []redisio.Outgoing) (n int64) {
	for _, i := range p.index {
		n += int64(entries[i].Fields.Size()) + entryBytes
	}
	return n
}

// afford refuses the entries that MaxBytes has no room for. When there seems to be too little it
// asks the server, which drops what the groups are done with. After the server was out of memory
// half of that goes, so that it recovers.
func (w *Writer) afford(
	ctx context.Context,
	p *part,
	entries []redisio.Outgoing,
	results []redisio.Result,
	now time.Time,
) {
	if w.cfg.MaxBytes == 0 || len(p.index) == 0 {
		return
	}
	p.bytes = p.weight(entries)
	l, drops := p.lane, w.cfg.dropsBytes()
	l.mu.Lock()
	l.average = (l.average + p.bytes/int64(len(p.index)) + 1) / 2
	enough := drops || l.measured && l.bytes+l.fresh+p.bytes <= w.cfg.MaxBytes
	full := !drops && now.Before(l.fullUntil)
	room := max(w.cfg.MaxBytes-p.bytes, 0)
	relieve := l.oom && !now.Before(l.relief)
	if relieve && l.measured {
		l.oom, l.relief, room = false, now.Add(measureEvery), min(room, (l.bytes+l.fresh)/2)
	}
	bytes, length, kept := l.bytes, l.length, l.fullBy
	l.mu.Unlock()
	switch {
	case relieve || !enough && !full:
		r, err := w.measure(ctx, p, room)
		if err != nil {
			p.fail(results, &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err})
			return
		}
		length, bytes, kept = r.length, r.bytes, r.kept
		if enough = drops || bytes+p.bytes <= w.cfg.MaxBytes; !enough {
			l.mu.Lock()
			l.fullUntil, l.fullBy = now.Add(fullFor), kept
			l.mu.Unlock()
		}
	case full:
		enough = false
	}
	if !enough {
		p.fail(results, &StreamFullError{Key: p.key, Length: length, Cap: w.cfg.HardCap, Bytes: bytes,
			MaxBytes: w.cfg.MaxBytes, Group: kept.group(), Full: w.cfg.WhenFull})
		return
	}
	l.mu.Lock()
	l.fresh += p.bytes
	l.mu.Unlock()
}

// measure has the server shrink a stream to room, as far as it may, and takes note of its size.
func (w *Writer) measure(ctx context.Context, p *part, room int64) (retention, error) {
	r, err := w.shrink(ctx, p, -1, room)
	if err != nil {
		return r, err
	}
	p.lane.mu.Lock()
	p.lane.weighed(r.bytes, time.Now())
	p.lane.mu.Unlock()
	return r, nil
}

// weighed takes note of a measurement. The lane's lock is held.
func (l *lane) weighed(bytes int64, now time.Time) {
	l.measured, l.bytes, l.fresh, l.weighedAt = true, bytes, 0, now
}

// overweight reports whether the stream is to be measured again. The lane's lock is held.
func (w *Writer) overweight(l *lane, now time.Time) bool {
	most := w.cfg.MaxBytes
	return most > 0 && (!l.measured || l.fresh >= most/16 || l.bytes+l.fresh > most ||
		l.fresh > 0 && now.Sub(l.weighedAt) >= measureEvery)
}

// dropsBytes reports that the oldest entries go when the stream is over its budget, whether they
// were read or not.
func (c *Config) dropsBytes() bool { return c.DropUnread || c.WhenFull == FullDrop }

// bound keeps streams that exist to MaxBytes, after a pipeline was written to them.
//
// Idea: there may be any number of such streams, most of them small, so the writer remembers none of
// them. It counts the bytes of the pipeline and measures a stream at every sixteenth of MaxBytes,
// beginning at a random byte. So each entry has its stream measured with a probability of its size
// by that sixteenth, and each stream is measured after a sixteenth on average.
func (w *Writer) bound(ctx context.Context, entries []redisio.Outgoing, results []redisio.Result) {
	step := w.cfg.MaxBytes / 16
	var keys []string
	at, total, n := rand.Int64N(step), int64(0), int64(0) // at: how far ahead the next measurement is
	for i := range entries {
		if results[i].Err != nil {
			continue
		}
		size := int64(entries[i].Fields.Size()) + entryBytes
		total, n = total+size, n+1
		if at -= size; at >= 0 {
			continue
		}
		at = (at%step + step) % step
		if key := w.keyOf(&entries[i]); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		w.boundStream(ctx, key, total/n)
	}
}

// boundStream drops the oldest entries of a stream that takes more than MaxBytes. average is what
// an entry takes, for servers and users without MEMORY.
func (w *Writer) boundStream(ctx context.Context, key string, average int64) {
	dropped := int64(0)
	var err error
	for range trimSteps {
		var keep int64
		if keep, err = w.fitting(ctx, key, average); err != nil || keep == 0 {
			break
		}
		var went int64
		if went, err = w.out.XTrimMaxLen(ctx, key, keep).Result(); err != nil || went == 0 {
			break
		}
		dropped += went
	}
	switch {
	case err == nil:
	case fault.Judge(err) == fault.Moved:
		w.out.Redirected()
	case fault.IsServerSaid(err):
		w.emit(redisio.Event{Kind: redisio.EventTrimFailed, Key: key, Err: err})
	}
	if dropped > 0 {
		w.stats.trimmed.Add(dropped)
		w.stats.lost.Add(dropped)
		w.emit(redisio.Event{Kind: redisio.EventDropped, Key: key, Count: int(dropped)})
	}
}

// fitting returns to how many entries a stream is to be trimmed in one step, 0 for none.
func (w *Writer) fitting(ctx context.Context, key string, average int64) (int64, error) {
	pipe := w.out.Pipeline()
	memory, length := pipe.MemoryUsage(ctx, key, 0), pipe.XLen(ctx, key)
	_, _ = pipe.Exec(ctx) // the commands have their errors
	n, err := length.Result()
	if err != nil || n < 2 {
		return 0, err
	}
	size, err := memory.Result()
	switch {
	case errors.Is(err, redis.Nil): // the stream has gone
		return 0, nil
	case err != nil && fault.IsServerSaid(err) && fault.Judge(err) == fault.Permanent:
		size = n * average
	case err != nil:
		return 0, err
	}
	if size <= w.cfg.MaxBytes {
		return 0, nil
	}
	keep := max(1, int64(float64(n)*float64(w.cfg.MaxBytes)/float64(size)*0.9))
	return max(keep, n-script.TrimStep), nil
}
