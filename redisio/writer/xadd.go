package writer

import (
	"context"
	"errors"
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
)

// sendPlain writes plain XADDs: as one pipeline, or if they are large as several, each of which is encoded as a whole.
func (w *Writer) sendPlain(ctx context.Context, c *chunk, entries []redisio.Outgoing, results []redisio.Result) {
	for len(entries) > 0 {
		n, size := 0, 0
		for n < len(entries) && (n == 0 || size < conn.MaxKept) {
			size += entries[n].Fields.Size()
			n++
		}
		w.sendPart(ctx, c, entries[:n], results[:n])
		entries, results = entries[n:], results[n:]
	}
}

func (w *Writer) sendPart(ctx context.Context, c *chunk, entries []redisio.Outgoing, results []redisio.Result) {
	c.index = c.index[:0]
	together := w.together(len(entries), entries)
	out := c.out[:0]
	if together {
		out = append(out, "*1\r\n$5\r\nmulti\r\n"...)
	}
	for i := range entries {
		if err := w.check(&entries[i]); err != nil {
			results[i] = redisio.Result{Err: err}
			continue
		}
		out = w.appendXAdd(out, &entries[i])
		c.index = append(c.index, i)
	}
	n := len(c.index)
	if n == 0 {
		return
	}
	if together {
		out = append(out, "*1\r\n$4\r\nexec\r\n"...)
		n += 2
	}
	if c.out = out; cap(out) > conn.MaxKept {
		c.out = nil
	}
	err := w.lines.Send(ctx, out, n, func(raw []byte, broken error) bool {
		r := replies{Walker: resp.Walker{Buf: raw}, broken: broken}
		if together {
			w.takeTogether(&r, c.index, results)
		} else {
			r.takeEach(c.index, results)
		}
		if r.stray { // see stray
			w.lines.Renew()
		}
		return !r.stuck
	})
	if err != nil {
		err = &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err}
		for _, at := range c.index {
			results[at] = redisio.Result{Err: err}
		}
	}
}

// togetherMost is how many entries a transaction has at most: a reader that waits gets the first of
// more alone, and then the rest.
const togetherMost = 64

// together reports whether n entries are to appear at once.
func (w *Writer) together(n int, entries []redisio.Outgoing) bool {
	if !w.cfg.Together || n <= 1 || n > togetherMost || w.out.Cluster != nil || w.apart.Load() {
		return false
	}
	tag := redisio.HashTag(w.keyOf(&entries[0]))
	for i := range entries[1:] {
		if redisio.HashTag(w.keyOf(&entries[1+i])) != tag {
			return false // a server with slots takes no transaction of several
		}
	}
	return true
}

// bySlot returns the entries by the hash slot that their keys surely share, if more than one slot
// is written to and some have several. Those of a slot are together, and what is alone in its slot
// is the first group.
func (w *Writer) bySlot(entries []redisio.Outgoing) (groups [][]int) {
	if !w.cfg.Together || len(entries) <= 2 || len(entries) > togetherMost || w.out.Cluster != nil || w.apart.Load() ||
		w.together(len(entries), entries) {
		return nil
	}
	at := make(map[string]int)
	for i := range entries {
		tag := redisio.HashTag(w.keyOf(&entries[i]))
		n, known := at[tag]
		if !known {
			n = len(groups)
			at[tag] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], i)
	}
	if len(groups) == len(entries) {
		return nil
	}
	several := [][]int{nil}
	for _, g := range groups {
		if len(g) == 1 {
			several[0] = append(several[0], g[0])
		} else {
			several = append(several, g)
		}
	}
	return several
}

// sendBySlot sends each group by itself.
func (w *Writer) sendBySlot(ctx context.Context, groups [][]int, entries []redisio.Outgoing, results []redisio.Result) {
	for _, g := range groups {
		some, ended := make([]redisio.Outgoing, len(g)), make([]redisio.Result, len(g))
		for i, at := range g {
			some[i] = entries[at]
		}
		w.Send(ctx, some, ended)
		for i, at := range g {
			results[at] = ended[i]
		}
	}
}

// appendXAdd appends an XADD.
func (w *Writer) appendXAdd(dst []byte, e *redisio.Outgoing) []byte {
	n := 3 + 2*len(e.Fields)
	if w.cfg.OnlyExisting {
		n++
		if w.cfg.MaxLen > 0 {
			n += 3
		}
	}
	dst = resp.AppendArray(dst, n)
	dst = append(dst, "$4\r\nxadd\r\n"...)
	dst = resp.AppendBulk(dst, w.keyOf(e))
	if w.cfg.OnlyExisting {
		dst = append(dst, "$10\r\nnomkstream\r\n"...)
		if w.cfg.MaxLen > 0 {
			dst = append(dst, "$6\r\nmaxlen\r\n$1\r\n~\r\n"...)
			dst = resp.AppendBulk(dst, w.mostText)
		}
	}
	if e.ID == "" {
		dst = append(dst, "$1\r\n*\r\n"...)
	} else {
		dst = resp.AppendBulk(dst, e.ID)
	}
	for i := range e.Fields {
		dst = resp.AppendBulk(dst, e.Fields[i].Name)
		dst = resp.AppendBulk(dst, e.Fields[i].Value)
	}
	return dst
}

// takeTogether takes the answers to a transaction of XADDs.
func (w *Writer) takeTogether(r *replies, index []int, results []redisio.Result) {
	all := func(res redisio.Result) {
		for _, at := range index {
			results[at] = res
		}
	}
	if _, err := r.next(); fault.IsServerSaid(
		err,
	) { // the right to transactions was taken away: the XADDs were done all the same
		if fault.NoRight(err) {
			w.apart.Store(true)
		}
		r.takeEach(index, results)
		return
	} else if err != nil {
		all(r.Lost(err))
		return
	}
	var why error
	for _, at := range index {
		results[at] = redisio.Result{}
		_, err := r.next()
		switch {
		case err == nil:
		case fault.IsServerSaid(err):
			results[at] = redisio.Result{Err: &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err}}
			if why == nil {
				why = err
			}
		default:
			all(r.Lost(err))
			return
		}
	}
	_, n, err := r.Header()
	switch {
	case fault.IsServerSaid(err) && why != nil && !fault.NoRight(err):
		for _, at := range index {
			if results[at].Err == nil {
				results[at] = redisio.Result{
					Err: &fault.OutcomeError{
						Outcome: redisio.ErrNotWritten,
						Cause:   fmt.Errorf("transaction discarded: %w", why),
					},
				}
			}
		}
	case fault.IsServerSaid(err), err == resp.ErrNilReply:
		if fault.NoRight(err) { // the right to end one was taken away
			w.apart.Store(true)
			r.stuck = true
		}
		all(redisio.Result{Err: &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err}})
	case err == nil && n == len(index):
		r.takeEach(index, results)
	default:
		if err == nil {
			err = errors.New("redisio: EXEC answered something else than an ID for each entry")
		}
		all(r.Lost(err))
	}
}
