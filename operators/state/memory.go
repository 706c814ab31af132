package state

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/operators/internal/lru"
)

// Memory is a Store in the memory of this process. Its content survives a restart of its stage, and
// is lost when the process ends. The zero value is ready to use. It must not be copied after first
// use, and belongs to one stage.
type Memory[K comparable, S any] struct {
	// MaxKeys is the largest number of keys. Beyond it the key that was used least recently is
	// forgotten, with its timer. Defaults to 100,000.
	MaxKeys int
	// Forgotten is called with each record that is forgotten for MaxKeys. It must be quick and must
	// not call the store. May be nil.
	Forgotten func(key K, r Record[S])

	mu     sync.Mutex // guards the fields below
	keys   lru.Map[K, *timed[K, S]]
	timers timers[K, S]
}

// timed is a record with its place among the timers.
type timed[K comparable, S any] struct {
	Record[S]
	key K
	at  int // index in timers; -1: it has no timer
}

const defaultMaxKeys = 100_000

// Load implements Store.
func (m *Memory[K, S]) Load(_ context.Context, key K) (Record[S], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.keys.Use(key); t != nil {
		return (*t).Record, nil
	}
	return Record[S]{}, nil
}

// Save implements Store.
func (m *Memory[K, S]) Save(_ context.Context, key K, r Record[S]) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.keys.Use(key)
	switch {
	case key != key: // a NaN: it would never be found again
		return nil
	case found == nil && r.Empty():
		return nil
	case found == nil:
		for m.keys.Len() >= m.most() {
			m.forget()
		}
		t := &timed[K, S]{Record: r, key: key, at: -1}
		m.keys.Add(key, t)
		m.timers.update(t)
	case r.Empty():
		(*found).Wake = time.Time{}
		m.timers.update(*found)
		m.keys.Delete(key)
	default:
		(*found).Record = r
		m.timers.update(*found)
	}
	return nil
}

func (m *Memory[K, S]) most() int {
	if m.MaxKeys > 0 {
		return m.MaxKeys
	}
	return defaultMaxKeys
}

// forget removes the key that was used least recently.
func (m *Memory[K, S]) forget() {
	key, t := m.keys.Oldest()
	r := (*t).Record
	(*t).Wake = time.Time{}
	m.timers.update(*t)
	m.keys.Delete(key)
	if m.Forgotten != nil {
		m.Forgotten(key, r)
	}
}

// Len returns the number of keys.
func (m *Memory[K, S]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys.Len()
}

// Next implements Store.
func (m *Memory[K, S]) Next() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.timers) == 0 {
		return time.Time{}
	}
	return m.timers[0].Wake
}

// Due implements Store.
func (m *Memory[K, S]) Due(_ context.Context, now time.Time) (key K, due bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.timers) == 0 || m.timers[0].Wake.After(now) {
		return key, false, nil
	}
	return m.timers[0].key, true, nil
}

// timers is a heap of the records with timers.
type timers[K comparable, S any] []*timed[K, S]

// update moves a record to the place of its timer.
func (h *timers[K, S]) update(t *timed[K, S]) {
	switch {
	case t.at >= 0 && t.Wake.IsZero():
		heap.Remove(h, t.at)
	case t.at >= 0:
		heap.Fix(h, t.at)
	case !t.Wake.IsZero():
		heap.Push(h, t)
	}
}

func (h timers[K, S]) Len() int           { return len(h) }
func (h timers[K, S]) Less(i, j int) bool { return h[i].Wake.Before(h[j].Wake) }
func (h timers[K, S]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *timers[K, S]) Push(x any) {
	t := x.(*timed[K, S])
	t.at = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timers[K, S]) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.at = -1
	return t
}
