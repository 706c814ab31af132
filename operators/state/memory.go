package state

import (
	"context"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/operators/internal/due"
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
	timers due.Queue[*timed[K, S]]
}

// timed is a record with its place among the timers.
type timed[K comparable, S any] struct {
	Record[S]
	key   K
	place due.Place // among the timers
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
		t := &timed[K, S]{Record: r, key: key}
		m.keys.Add(key, t)
		m.schedule(t)
	case r.Empty():
		(*found).Wake = time.Time{}
		m.schedule(*found)
		m.keys.Delete(key)
	default:
		(*found).Record = r
		m.schedule(*found)
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
	m.schedule(*t)
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
	if m.timers.Len() == 0 {
		return time.Time{}
	}
	return m.timers.First().Wake
}

// Due implements Store.
func (m *Memory[K, S]) Due(_ context.Context, now time.Time) (key K, isDue bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timers.Len() == 0 || m.timers.First().Wake.After(now) {
		return key, false, nil
	}
	return m.timers.First().key, true, nil
}

// Place implements due.Item.
func (t *timed[K, S]) Place() *due.Place { return &t.place }

// Before implements due.Item.
func (t *timed[K, S]) Before(other *timed[K, S]) bool { return t.Wake.Before(other.Wake) }

// schedule puts a record in order by its timer, if it has one.
func (m *Memory[K, S]) schedule(t *timed[K, S]) {
	switch {
	case t.place.Queued() && t.Wake.IsZero():
		m.timers.Remove(t)
	case t.place.Queued():
		m.timers.Fix(t)
	case !t.Wake.IsZero():
		m.timers.Add(t)
	}
}
