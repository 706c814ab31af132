package flowtest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
)

// Idea of the proof: every value knows which delivery of which entry it descends from. Its id is a
// hash of its route. Each stage of a random tree chooses the fate of a value by a hash of seed,
// stage and id. Each leaf (a write, a drop, a fault that was decided on) is recorded. Afterwards a
// model, which knows the tree but no leases, walks each entry down the tree and computes which
// leaves there must be. The settlement must be the worst of them.

// delivery is one delivery of an entry.
type delivery struct{ src, entry, attempt int }

// item is a value that travels through the tree.
type item struct {
	delivery
	id  uint64
	key int
	dup bool // may arrive more than once: emitted in a call that failed after it had passed on a chunk

	with *group // the group that shares its fate; nil if it shares none
}

// group is a set of joined values that are no longer distinguished: all share one outcome.
type group struct{ members []delivery }

// shares are the deliveries that share the fate of a value.
func (it item) shares() []delivery {
	if it.with == nil {
		return []delivery{it.delivery}
	}
	return it.with.members
}

func (it item) String() string {
	return fmt.Sprintf("%d.%d.%d/%x", it.src, it.entry, it.attempt, it.id&0xffff)
}

// join puts values into one group.
func join(items []item) *group {
	seen, g := map[delivery]bool{}, &group{}
	for _, it := range items {
		for _, d := range it.shares() {
			if !seen[d] {
				seen[d] = true
				g.members = append(g.members, d)
			}
		}
	}
	return g
}

// spot is a value at a stage.
type spot struct {
	node int
	id   uint64
}

// leaf is how a value ended at a stage.
type leaf struct {
	outcome flow.Outcome
	dup     bool
}

// world records a run of a tree.
type world struct {
	seed uint64

	mu        sync.Mutex
	tries     map[spot]int
	seen      map[spot]int
	leaves    map[delivery]map[spot][]leaf
	worst     map[delivery]flow.Outcome
	parts     map[[2]int]int // stage and key: the port it goes to
	last      map[string]int // highest entry seen, for each ordered sequence
	problems  []string
	disrupted []string // why entries may come back unfinished
	stopping  bool     // a policy has stopped the graph
	groups    bool     // the tree has batches of batches: their values share an outcome
	overflows bool     // the tree has a buffer that drops values; the model does not know the groups of these
}

func newWorld(seed uint64) *world {
	return &world{seed: seed, tries: map[spot]int{}, seen: map[spot]int{}, leaves: map[delivery]map[spot][]leaf{},
		worst: map[delivery]flow.Outcome{}, parts: map[[2]int]int{}, last: map[string]int{}}
}

// mix hashes numbers.
func mix(v ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, x := range v {
		h ^= x
		h *= 0xbf58476d1ce4e5b9
		h ^= h >> 29
		h *= 0x94d049bb133111eb
		h ^= h >> 32
	}
	return h
}

func (w *world) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *world) disrupt(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disrupted = append(w.disrupted, why)
}

// try returns how often a stage has been called with a value, from 1.
func (w *world) try(node int, it item) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries[spot{node, it.id}]++
	return w.tries[spot{node, it.id}]
}

func (w *world) see(node int, it item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[spot{node, it.id}]++
}

func (w *world) end(node int, o flow.Outcome, items ...item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, it := range items {
		of := w.leaves[it.delivery]
		if of == nil {
			of = map[spot][]leaf{}
			w.leaves[it.delivery] = of
		}
		at := spot{node, it.id}
		of[at] = append(of[at], leaf{o, it.dup})
		for _, d := range it.shares() {
			w.worst[d] = max(w.worst[d], o)
		}
	}
}

// inOrder records an arrival and checks that it does not come before one that should have preceded
// it. Redeliveries have no order.
func (w *world) inOrder(node int, by order, it item) {
	if by == anyOrder || it.attempt > 1 || it.dup {
		return
	}
	lane := fmt.Sprint(node, it.src)
	if by == keyOrder {
		lane = fmt.Sprint(node, it.src, it.key)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if it.entry < w.last[lane] {
		w.problems = append(w.problems, fmt.Sprintf("node %d: entry %d of source %d arrived after %d (order %d)",
			node, it.entry, it.src, w.last[lane], by))
	}
	w.last[lane] = max(w.last[lane], it.entry)
}

// order is the promised order of arrival, by entries.
type order uint8

const (
	kept order = iota
	keyOrder
	anyOrder
)

// fate is what a stage does to a value.
type fate uint8

const (
	passes fate = iota
	failsThenPasses
	panicsThenPasses
	fails
	panics
	skips
	rejects
	asksForLater
	passesLater
)

func (w *world) fate(n *node, it item) fate {
	h := mix(w.seed, 77, uint64(n.id), it.id) % 1000
	if int(h) >= n.trouble {
		return passes
	}
	f := fate(1 + mix(w.seed, 78, uint64(n.id), it.id)%8)
	if n.calm && (f == panics || f == panicsThenPasses) {
		f = fails
	}
	return f
}

// fateError is the error of a value's fate.
type fateError struct {
	items []item
	text  string
}

func (e *fateError) Error() string { return e.text }

// passing is a failure that a retry fixes.
var errPassing = errors.New("a passing trouble")

// meet carries out the fate of a value (the first of items) at a stage, and returns the error to return, if any.
func (w *world) meet(n *node, items ...item) error {
	it := items[0]
	f := w.fate(n, it)
	err := &fateError{items, fmt.Sprintf("fate %d of %v at node %d", f, it, n.id)}
	switch try := w.try(n.id, it); f {
	case failsThenPasses:
		if try <= n.retries && try <= 1+int(it.id%2) {
			return err
		}
	case panicsThenPasses:
		if try <= n.retries && try <= 1 {
			panic(err)
		}
	case fails:
		return err
	case panics:
		panic(err)
	case skips:
		w.end(n.id, flow.Dropped, items...)
		return flow.Skip
	case rejects:
		if !n.deadLetters {
			return nil
		}
		w.end(n.id, flow.Dead, items...)
		return fmt.Errorf("wrapped: %w", flow.Reject(err))
	case asksForLater:
		if !n.redelivers {
			return nil
		}
		w.end(n.id, flow.Nacked, items...)
		return flow.RetryAfter(time.Duration(it.id%7)*n.unit, err)
	case passesLater:
		if try == 1 {
			return errPassing
		}
	}
	return nil
}

// policy is the fault policy of a stage: retries, then its action. It records what it decides.
func (w *world) policy(n *node) flow.Policy {
	inner := flow.Retry(n.retries, n.unit, func(*flow.Fault) flow.Decision {
		return flow.Decision{Do: n.action, After: 3 * n.unit}
	})
	return func(f *flow.Fault) flow.Decision {
		if errors.Is(f.Err, errPassing) {
			return flow.Decision{Do: flow.ActRetry, After: n.unit}
		}
		d := inner(f)
		if d.Do == flow.ActRetry {
			return d
		}
		var e *fateError
		if !errors.As(f.Err, &e) {
			w.problem("node %d: a fault that is not of our making: %v", n.id, f.Err)
			return d
		}
		o := map[flow.Action]flow.Outcome{flow.ActNack: flow.Nacked, flow.ActDead: flow.Dead,
			flow.ActDrop: flow.Dropped,
			flow.ActStop: flow.Failed}[d.Do]
		entry := e.items[0].src >= 0 // else it was added, and can always be given up
		cannot := d.Do == flow.ActNack && !n.redelivers || d.Do == flow.ActDead && !n.deadLetters
		if cannot && entry || d.Do == flow.ActStop {
			o = flow.Failed
			w.mu.Lock()
			w.stopping = true
			w.disrupted = append(w.disrupted, "a policy stopped the graph")
			w.mu.Unlock()
		}
		w.end(n.id, o, e.items...)
		return d
	}
}

// node is a stage of the tree, as the model sees it.
type node struct {
	id      int
	what    string
	trouble int // of 1000 values that fail here
	calm    bool
	retries int
	action  flow.Action
	unit    time.Duration

	redelivers  bool
	deadLetters bool

	// walk describes how the stage passes on a value that it does not end. It calls to for each
	// value and the stage that receives it.
	walk func(it item, to func(*node, item))
	next []*node
}

// walker finds the leaves that a delivery must have.
type walker struct {
	w    *world
	have map[spot][]leaf
	want map[spot]int

	dropped bool // a buffer has dropped a value
	unsure  bool // it may have dropped a copy of a value
}

func (k *walker) at(n *node, it item) {
	at := spot{n.id, it.id}
	if len(k.have[at]) > 0 || n.walk == nil { // it has ended here, or should have
		k.want[at]++
		return
	}
	n.walk(it, func(next *node, it item) {
		switch next {
		case nil:
			k.want[at]++
			return
		case overflowed:
			k.dropped, k.unsure = true, k.unsure || it.dup
			return
		case superseded:
			return
		}
		k.at(next, it)
	})
}

// check compares the recorded leaves of a delivery with the expected ones.
func (w *world) check(root *node, s flowtest.Settlement[item]) {
	d := s.Value.delivery
	d.attempt = s.Attempt
	have := w.leaves[d]
	worst := w.worst[d]
	var list []string
	for at, ls := range have {
		for _, l := range ls {
			list = append(list, fmt.Sprintf("%d/%x:%s", at.node, at.id&0xffff, l.outcome))
		}
	}
	slices.Sort(list)
	why, _, _ := strings.Cut(fmt.Sprint(s.Err), "\n")
	fail := func(format string, args ...any) {
		w.problem("entry %+v settled %s (%v): %s\n\tleaves: %s", d, s.Outcome, why, fmt.Sprintf(format, args...),
			strings.Join(list, " "))
	}
	k := &walker{w: w, have: have, want: map[spot]int{}}
	first := s.Value
	first.attempt = s.Attempt
	k.at(root, first)
	if k.dropped && s.Outcome < flow.Nacked {
		worst = max(worst, flow.Dropped)
	}
	for at, ls := range have {
		if !ls[0].dup && len(ls) != 1 {
			fail("%d leaves at node %d/%x", len(ls), at.node, at.id&0xffff)
		}
		if !ls[0].dup && k.want[at] == 0 && s.Outcome < flow.Nacked {
			fail("an unexpected leaf at node %d/%x", at.node, at.id&0xffff)
		}
	}
	if s.Outcome < flow.Nacked {
		for at := range k.want {
			if len(have[at]) == 0 {
				fail("no leaf at node %d/%x", at.node, at.id&0xffff)
			}
		}
	}
	switch {
	case s.Outcome == flow.Nacked && s.Err == nil: // given back unfinished
		if worst > s.Outcome {
			fail("worst leaf: %s", worst)
		}
		if len(w.disrupted) == 0 && worst < flow.Nacked {
			fail("nobody gave it back")
		}
	case (k.unsure || w.groups && w.overflows) && s.Outcome <= flow.Dropped && worst <= flow.Dropped:
	case s.Outcome != worst:
		fail("worst leaf: %s", worst)
	}
	if s.Outcome > flow.Acked && s.Outcome != flow.Nacked && s.Outcome != flow.Dropped && s.Err == nil {
		fail("no error")
	}
}

// hashString is a seed for byte strings that is the same in every process.
func hashString(data []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range data {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}
