package gateways

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/streamerson/streamerson-go/flow"
)

// ledger records requests by ID: running ones, the latest answers, and requests cancelled before
// they started.
type ledger struct {
	mu    sync.Mutex
	known map[string]*handling
	ring  []string // IDs of the kept answers
	next  int      // the slot to use next: the oldest
	gone  recent
}

// goneMost is how many cancelled requests are remembered.
const goneMost = 4096

// newLedger creates a ledger that keeps so many answers.
func newLedger(answers int) *ledger {
	return &ledger{
		known: make(map[string]*handling),
		ring:  make([]string, max(answers, 0)),
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
	was := l.known[id]
	switch {
	case was == nil:
	case !was.kept:
		return underWay, nil
	case copied:
		return answered, &was.answer
	}
	if l.gone.remove(id) {
		return cancelled, nil
	}
	if was != nil { // the same ID for a new request
		h.slotted = was.slotted
	}
	l.known[id] = h
	return fresh, nil
}

// end records the end of a request, and keeps its answer if there is one.
func (l *ledger) end(id string, h *handling, answer *Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if answer == nil || len(l.ring) == 0 || len(answer.Body) > rememberedMost {
		delete(l.known, id)
		return
	}
	id, h.answer = detach(id, answer)
	h.kept, l.known[id] = true, h
	if h.slotted {
		return
	}
	l.free(l.ring[l.next])
	l.ring[l.next], h.slotted = id, true
	l.next = (l.next + 1) % len(l.ring)
}

// detach copies an answer, because it may share memory with the request and with everything that
// was read together.
func detach(id string, answer *Response) (string, Response) {
	a := *answer
	var all strings.Builder // grows once
	all.Grow(len(id) + len(a.ContentType) + len(a.code) + sizeOf(a.Headers))
	text := func(s string) string {
		from := all.Len()
		all.WriteString(s)
		return all.String()[from:]
	}
	id, a.ContentType, a.code = text(id), text(a.ContentType), Code(text(string(a.code)))
	a.Headers = slices.Clone(a.Headers)
	for i, h := range a.Headers {
		a.Headers[i] = flow.Header{Name: text(h.Name), Value: text(h.Value)}
	}
	a.Body = bytes.Clone(a.Body)
	return id, a
}

// free is called when an ID loses its slot. l.mu is held.
func (l *ledger) free(id string) {
	switch h := l.known[id]; {
	case h == nil:
	case h.kept:
		delete(l.known, id)
	default: // it is being handled again
		h.slotted = false
	}
}

// cancel returns the handling to cancel. It returns nil if the request has not started; then it
// will not be handled.
func (l *ledger) cancel(id string) *handling {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.known[id]
	switch {
	case h == nil:
		l.gone.Add(strings.Clone(id))
	case h.kept: // it has ended
		return nil
	}
	return h
}

// running returns the running handling, or nil.
func (l *ledger) running(id string) *handling {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.known[id]; h != nil && !h.kept {
		return h
	}
	return nil
}
