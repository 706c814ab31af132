package writer

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Idea: a pipeline need not wait for the replies to the one before it. The server runs the commands
// of a connection in turn, so the order stays, and neither side waits for the other. If the
// connection breaks, all entries behind the last reply are in doubt, and no later one was confirmed:
// writing them again keeps the order.

// window is how many pipelines are on their way at a time. The server works on one while the client
// encodes the next, and a sink's chunk of four takes one round trip. More would only add entries in
// doubt after a cut.
const window = 4

// commandSize is about how many bytes an XADD has besides its key and fields.
const commandSize = 64

// errBehind is the cause of entries that were not sent.
var errBehind = errors.New("redisio: not sent, because an entry before it was not written")

// goesAhead reports whether entries are written in pipelines ahead of replies: if nothing but XADDs is
// sent.
func (w *Writer) goesAhead(entries []redisio.Outgoing) bool {
	return w.plain && w.cfg.MaxBytes == 0 && w.cfg.Pipelines == 1 && w.lines != nil && !w.cfg.Together &&
		!slices.ContainsFunc(entries, func(e redisio.Outgoing) bool { return !e.At.IsZero() })
}

// sendAhead writes entries in pipelines that follow each other on one connection. After a failure
// that may pass it sends no more, so that entries do not overtake those that are written again.
func (w *Writer) sendAhead(ctx context.Context, entries []redisio.Outgoing, results []redisio.Result) {
	line, err := w.lines.Take(ctx)
	if err != nil {
		fail(results[:len(entries)], redisio.ErrNotWritten, err)
		return
	}
	var sent [window]*chunk
	var stop, broken error // why nothing more is sent, and why no more replies come
	stuck := false
	for first, last, next := 0, 0, 0; ; {
		if stop == nil && next < len(entries) && last-first < window {
			if stop = fault.Ended(ctx); stop != nil {
				continue
			}
			n, size := w.pipelineOf(entries[next:])
			to := next + n
			c := w.chunkOf(entries[next:to], results[next:to])
			c.out = slices.Grow(c.out, size)
			for _, at := range c.index {
				w.xadd(c, at, nil, (*chunk).wrote)
			}
			stop = w.lines.Send(ctx, line, c.out, len(c.cmds))
			sent[last%window] = c
			next, last = to, last+1
			continue
		}
		if first == last {
			fail(results[next:len(entries)], redisio.ErrNotWritten, stop)
			break
		}
		c := sent[first%window]
		first++
		if broken == nil {
			c.replies.Buf, broken = w.lines.Receive(ctx, line, len(c.cmds))
		}
		w.readReplies(c, broken)
		stuck = stuck || c.replies.stuck
		if stop == nil && (broken != nil || c.waits()) {
			stop = cmp.Or(broken, errBehind)
		}
		c.done()
		w.release(c)
	}
	w.lines.Put(line, broken == nil && !stuck)
}

// pipelineOf returns how many of the entries the next pipeline has, and about how many bytes.
func (w *Writer) pipelineOf(entries []redisio.Outgoing) (n, size int) {
	for n < len(entries) && n < w.cfg.Depth && (n == 0 || size < conn.MaxKept) {
		size += entries[n].Fields.Size() + len(w.cfg.Key) + commandSize
		n++
	}
	return n, size
}

// chunkOf returns a chunk with the entries that can be sent. The others have their results.
func (w *Writer) chunkOf(entries []redisio.Outgoing, results []redisio.Result) *chunk {
	c := w.chunks.Get().(*chunk)
	c.entries, c.results, c.own = entries, results, w.lines != nil
	for i := range entries {
		if !entries[i].At.IsZero() {
			c.later = append(c.later, i)
		} else if err := w.check(&entries[i]); err != nil {
			results[i] = redisio.Result{Err: err}
		} else {
			c.index = append(c.index, i)
		}
	}
	return c
}

func (w *Writer) release(c *chunk) {
	c.clear()
	w.chunks.Put(c)
}

// waits reports whether the server has refused an entry that it may take later.
func (c *chunk) waits() bool {
	for _, at := range c.index {
		if err := c.results[at].Err; err != nil && !redisio.IsPermanent(err) && !redisio.IsKeyFault(err) &&
			!errors.Is(err, redisio.ErrNoStream) {
			return true
		}
	}
	return false
}
