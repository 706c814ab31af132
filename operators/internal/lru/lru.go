// Package lru has a map that knows which of its keys was used least recently.
package lru

import "iter"

// Map is a map of keys in the order of their last use. The zero value is ready to use.
type Map[K comparable, V any] struct {
	entries map[K]*entry[K, V]
	root    entry[K, V] // of a ring: next is the oldest, prev the newest
	spare   *entry[K, V]
}

type entry[K comparable, V any] struct {
	next, prev *entry[K, V]
	key        K
	value      V
}

// Len returns the number of keys.
func (m *Map[K, V]) Len() int { return len(m.entries) }

// Use returns the value of a key and makes the key the newest. It returns nil if there is no such
// key. The pointer is valid until the key is deleted.
func (m *Map[K, V]) Use(k K) *V {
	e := m.entries[k]
	if e == nil {
		return nil
	}
	if e.next != &m.root {
		e.unlink()
		m.link(e)
	}
	return &e.value
}

// Add adds a key that is not in the map, as the newest.
func (m *Map[K, V]) Add(k K, v V) *V {
	if m.entries == nil {
		m.entries = make(map[K]*entry[K, V])
		m.root.next, m.root.prev = &m.root, &m.root
	}
	e := m.spare
	if m.spare = nil; e == nil {
		e = &entry[K, V]{}
	}
	e.key, e.value = k, v
	m.entries[k] = e
	m.link(e)
	return &e.value
}

// Delete removes a key.
func (m *Map[K, V]) Delete(k K) {
	if e := m.entries[k]; e != nil {
		delete(m.entries, k)
		e.unlink()
		*e = entry[K, V]{}
		m.spare = e
	}
}

// Oldest returns the key that was used least recently. The map must not be empty.
func (m *Map[K, V]) Oldest() (K, *V) { return m.root.next.key, &m.root.next.value }

// All yields all keys from the oldest to the newest. The current key may be deleted meanwhile.
func (m *Map[K, V]) All() iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		if len(m.entries) == 0 {
			return
		}
		for e := m.root.next; e != &m.root; {
			next := e.next
			if !yield(e.key, &e.value) {
				return
			}
			e = next
		}
	}
}

func (m *Map[K, V]) link(e *entry[K, V]) {
	e.next, e.prev = &m.root, m.root.prev
	e.prev.next, m.root.prev = e, e
}

func (e *entry[K, V]) unlink() { e.prev.next, e.next.prev = e.next, e.prev }
