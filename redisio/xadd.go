package redisio

import (
	"context"
	"errors"
	"fmt"
)

// sendPlain writes plain XADDs: as one pipeline, or if they are large as several, each of which is encoded as a whole.
func (w *Writer) sendPlain(ctx context.Context, c *chunk, entries []Outgoing, results []Result) {
	for len(entries) > 0 {
		n, size := 0, 0
		for n < len(entries) && (n == 0 || size < maxKept) {
			size += entries[n].Fields.Size()
			n++
		}
		w.sendPart(ctx, c, entries[:n], results[:n])
		entries, results = entries[n:], results[n:]
	}
}

func (w *Writer) sendPart(ctx context.Context, c *chunk, entries []Outgoing, results []Result) {
	c.index = c.index[:0]
	together := w.together(len(entries), entries)
	out := c.out[:0]
	if together {
		out = append(out, "*1\r\n$5\r\nmulti\r\n"...)
	}
	for i := range entries {
		if err := w.check(&entries[i]); err != nil {
			results[i] = Result{Err: err}
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
	if c.out = out; cap(out) > maxKept {
		c.out = nil
	}
	err := w.lines.send(ctx, out, n, func(raw []byte, broken error) bool {
		r := replies{walker: walker{buf: raw}, broken: broken}
		if together {
			w.takeTogether(&r, c.index, results)
		} else {
			r.takeEach(c.index, results)
		}
		if r.stray { // see stray
			w.lines.renew()
		}
		return !r.stuck
	})
	if err != nil {
		err = &outcomeError{ErrNotWritten, err}
		for _, at := range c.index {
			results[at] = Result{Err: err}
		}
	}
}

// togetherMost is how many entries a transaction has at most: a reader that waits gets the first of
// more alone, and then the rest.
const togetherMost = 64

// together reports whether n entries are to appear at once.
func (w *Writer) together(n int, entries []Outgoing) bool {
	if !w.cfg.Together || n <= 1 || n > togetherMost || w.out.cluster != nil || w.apart.Load() {
		return false
	}
	tag := hashTag(w.keyOf(&entries[0]))
	for i := range entries[1:] {
		if hashTag(w.keyOf(&entries[1+i])) != tag {
			return false // a server with slots takes no transaction of several
		}
	}
	return true
}

// bySlot returns the entries by the hash slot that their keys surely share, if more than one slot
// is written to and some have several. Those of a slot are together, and what is alone in its slot
// is the first group.
func (w *Writer) bySlot(entries []Outgoing) (groups [][]int) {
	if !w.cfg.Together || len(entries) <= 2 || len(entries) > togetherMost || w.out.cluster != nil || w.apart.Load() ||
		w.together(len(entries), entries) {
		return nil
	}
	at := make(map[string]int)
	for i := range entries {
		tag := hashTag(w.keyOf(&entries[i]))
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
func (w *Writer) sendBySlot(ctx context.Context, groups [][]int, entries []Outgoing, results []Result) {
	for _, g := range groups {
		some, ended := make([]Outgoing, len(g)), make([]Result, len(g))
		for i, at := range g {
			some[i] = entries[at]
		}
		w.send(ctx, some, ended)
		for i, at := range g {
			results[at] = ended[i]
		}
	}
}

// maxKept is how large a buffer may be that is kept for the next pipeline.
const maxKept = 1 << 20

// appendXAdd appends an XADD.
func (w *Writer) appendXAdd(dst []byte, e *Outgoing) []byte {
	n := 3 + 2*len(e.Fields)
	if w.cfg.OnlyExisting {
		n++
		if w.cfg.MaxLen > 0 {
			n += 3
		}
	}
	dst = appendArray(dst, n)
	dst = append(dst, "$4\r\nxadd\r\n"...)
	dst = appendBulk(dst, w.keyOf(e))
	if w.cfg.OnlyExisting {
		dst = append(dst, "$10\r\nnomkstream\r\n"...)
		if w.cfg.MaxLen > 0 {
			dst = append(dst, "$6\r\nmaxlen\r\n$1\r\n~\r\n"...)
			dst = appendBulk(dst, w.mostText)
		}
	}
	if e.ID == "" {
		dst = append(dst, "$1\r\n*\r\n"...)
	} else {
		dst = appendBulk(dst, e.ID)
	}
	for i := range e.Fields {
		dst = appendBulk(dst, e.Fields[i].Name)
		dst = appendBulk(dst, e.Fields[i].Value)
	}
	return dst
}

// replies are the answers to a pipeline, as far as they came.
type replies struct {
	walker
	broken error // why there are not all
	stray  bool  // the server is none to write to
	stuck  bool  // the connection is in a transaction that cannot end
}

// next returns the next answer. An error of the server is a redis.Error; others say that the answer did not come.
func (r *replies) next() (string, error) {
	text, err := r.text()
	if isServerSaid(err) {
		r.stray = r.stray || says(err, "NOREPLICAS") || says(err, "READONLY") || says(err, "NOAUTH")
	}
	return str(text), err
}

// result is the next answer as that to an XADD.
func (r *replies) result() Result {
	id, err := r.next()
	switch {
	case err == nil && id == "QUEUED":
		r.stuck = true
		return r.lost(errors.New("redisio: the connection was in a transaction"))
	case err == nil:
		return Result{ID: id}
	case err == errNilReply:
		return Result{Err: &outcomeError{ErrNotWritten, ErrNoStream}}
	case isServerSaid(err):
		return Result{Err: &outcomeError{ErrNotWritten, err}}
	}
	return r.lost(err)
}

// lost is the result of an entry whose answer did not come.
func (r *replies) lost(err error) Result {
	r.pos = len(r.buf) // nor do those behind it
	if r.broken != nil {
		err = r.broken
	}
	return Result{Err: &outcomeError{ErrUnknownOutcome, err}}
}

// takeEach takes the answers to XADDs.
func (r *replies) takeEach(index []int, results []Result) {
	for _, at := range index {
		results[at] = r.result()
	}
}

// takeTogether takes the answers to a transaction of XADDs.
func (w *Writer) takeTogether(r *replies, index []int, results []Result) {
	all := func(res Result) {
		for _, at := range index {
			results[at] = res
		}
	}
	if _, err := r.next(); isServerSaid(
		err,
	) { // the right to transactions was taken away: the XADDs were done all the same
		if noRight(err) {
			w.apart.Store(true)
		}
		r.takeEach(index, results)
		return
	} else if err != nil {
		all(r.lost(err))
		return
	}
	var why error
	for _, at := range index {
		results[at] = Result{}
		_, err := r.next()
		switch {
		case err == nil:
		case isServerSaid(err):
			results[at] = Result{Err: &outcomeError{ErrNotWritten, err}}
			if why == nil {
				why = err
			}
		default:
			all(r.lost(err))
			return
		}
	}
	_, n, err := r.header()
	switch {
	case isServerSaid(err) && why != nil && !noRight(err):
		for _, at := range index {
			if results[at].Err == nil {
				results[at] = Result{Err: &outcomeError{ErrNotWritten, fmt.Errorf("transaction discarded: %w", why)}}
			}
		}
	case isServerSaid(err), err == errNilReply:
		if noRight(err) { // the right to end one was taken away
			w.apart.Store(true)
			r.stuck = true
		}
		all(Result{Err: &outcomeError{ErrNotWritten, err}})
	case err == nil && n == len(index):
		r.takeEach(index, results)
	default:
		if err == nil {
			err = errors.New("redisio: EXEC answered something else than an ID for each entry")
		}
		all(r.lost(err))
	}
}
