package gateways

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/streamerson/streamerson-go/flow"
)

// ledger records requests by ID: running ones, the latest answers, and requests cancelled before
// they started.
//
// Idea: every answer is kept, and few are asked for again. So keeping must be cheap, and looking may
// take microseconds: the answers are in a ring without a map, and are found by hashes of their IDs.
type ledger struct {
	mu    sync.Mutex
	known map[string]*handling // running requests
	most  int                  // answers
	ring  []kept               // the latest answers
	marks []uint64             // hashes of their IDs
	next  int                  // the slot to use next, once the ring is full: the oldest
	seed  maphash.Seed
	gone  recent
}

// kept is an answer with a memory of its own.
type kept struct {
	id, body string
	answer   Response // without its body
}

// goneMost is how many cancelled requests are remembered.
const goneMost = 4096

// newLedger creates a ledger that keeps so many answers.
func newLedger(answers int) *ledger {
	return &ledger{
		known: make(map[string]*handling),
		most:  answers,
		seed:  maphash.MakeSeed(),
		gone:  recent{most: goneMost},
	}
}

// recent is a set that evicts its oldest members when it is full.
type recent struct {
	most  int
	slots map[string]int // position of each member in the ring
	ring  []string
	next  int // the slot to use next, once the ring is full: the oldest
}

func (r *recent) Add(id string) {
	if _, known := r.slots[id]; known {
		return
	}
	switch {
	case r.slots == nil:
		r.slots = make(map[string]int)
		fallthrough
	case len(r.ring) < r.most:
		r.slots[id] = len(r.ring)
		r.ring = append(r.ring, id)
		return
	}
	if at, is := r.slots[r.ring[r.next]]; is && at == r.next { // not removed meanwhile
		delete(r.slots, r.ring[r.next])
	}
	r.slots[id], r.ring[r.next] = r.next, id
	r.next = (r.next + 1) % r.most
}

// remove reports whether id was a member.
func (r *recent) remove(id string) bool {
	at, known := r.slots[id]
	if known {
		delete(r.slots, id)
		r.ring[at] = "" // frees the string; the slot is reused in its turn
	}
	return known
}

// standing is the state of a request in the ledger.
type standing uint8

const (
	fresh     standing = iota // to be handled
	underWay                  // another copy is being handled
	answered                  // the answer is kept
	cancelled                 // the caller no longer waits
)

// begin records the start of a request if it is to be handled. Only a possible copy receives the
// kept answer.
func (l *ledger) begin(id string, h *handling, copied bool) (standing, *Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[id] != nil {
		return underWay, nil
	}
	if copied {
		if k := l.find(id); k != nil {
			answer := k.answer
			answer.Body = []byte(k.body)
			return answered, &answer
		}
	}
	if l.gone.remove(id) {
		return cancelled, nil
	}
	l.known[id] = h
	return fresh, nil
}

// end records the end of a request, and keeps its answer if there is one.
func (l *ledger) end(id string, answer *Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, id)
	switch {
	case answer == nil || l.most <= 0 || len(answer.Body) > rememberedMost:
		return
	case len(l.ring) < l.most:
		l.ring, l.marks = append(l.ring, kept{}), append(l.marks, 0)
	}
	l.ring[l.next], l.marks[l.next] = detach(id, answer), maphash.String(l.seed, id)
	l.next = (l.next + 1) % l.most
}

// find returns the latest answer to a request, or nil.
func (l *ledger) find(id string) *kept {
	mark := maphash.String(l.seed, id)
	for i := range l.marks {
		at := (l.next - 1 - i + len(l.marks)) % len(l.marks)
		if l.marks[at] == mark && l.ring[at].id == id {
			return &l.ring[at]
		}
	}
	return nil
}

// detach copies an answer, because it may share memory with the request and with everything that
// was read together.
func detach(id string, answer *Response) kept {
	k := kept{answer: *answer}
	a := &k.answer
	var all strings.Builder // grows once
	all.Grow(len(id) + answer.size())
	text := func(s string) string {
		from := all.Len()
		all.WriteString(s)
		return all.String()[from:]
	}
	k.id, a.ContentType, a.code = text(id), text(a.ContentType), Code(text(string(a.code)))
	a.Headers = slices.Clone(a.Headers)
	for i, h := range a.Headers {
		a.Headers[i] = flow.Header{Name: text(h.Name), Value: text(h.Value)}
	}
	from := all.Len()
	all.Write(a.Body)
	k.body, a.Body = all.String()[from:], nil
	return k
}

// cancel returns the handling to cancel. It returns nil if the request has ended, or has not
// started; then it will not be handled.
func (l *ledger) cancel(id string) *handling {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.known[id]
	if h == nil && l.find(id) == nil {
		l.gone.Add(strings.Clone(id))
	}
	return h
}

// running returns the running handling, or nil.
func (l *ledger) running(id string) *handling {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[id]
}
