// Package due has a priority queue of items that know their place in it.
package due

import "container/heap"

// Item is what a Queue holds: a pointer to a value that knows its place.
type Item[T any] interface {
	// Before reports whether the item comes out before another.
	Before(T) bool
	// Place returns where the queue keeps the item's place.
	Place() *Place
}

// Place is the place of an item in its queue. The zero value is for an item that is in none.
type Place int // 1 + index

// Queued reports whether the item is in a queue.
func (p Place) Queued() bool { return p > 0 }

// Queue is a priority queue: a binary heap. The zero value is an empty queue.
type Queue[T Item[T]] struct{ items items[T] }

// Len returns the number of items.
func (q *Queue[T]) Len() int { return len(q.items) }

// First returns the item that comes out first. The queue must not be empty.
func (q *Queue[T]) First() T { return q.items[0] }

// All returns all items in no order. The slice is valid until the queue changes.
func (q *Queue[T]) All() []T { return q.items }

// Add adds an item.
func (q *Queue[T]) Add(x T) { heap.Push(&q.items, x) }

// Fix puts an item in order again after what Before compares has changed.
func (q *Queue[T]) Fix(x T) { heap.Fix(&q.items, int(*x.Place())-1) }

// Remove removes an item.
func (q *Queue[T]) Remove(x T) { heap.Remove(&q.items, int(*x.Place())-1) }

// Take removes the first item and returns it. The queue must not be empty.
func (q *Queue[T]) Take() T { return heap.Pop(&q.items).(T) }

// items implements heap.Interface.
type items[T Item[T]] []T

func (s items[T]) Len() int           { return len(s) }
func (s items[T]) Less(i, j int) bool { return s[i].Before(s[j]) }
func (s items[T]) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	*s[i].Place(), *s[j].Place() = Place(i+1), Place(j+1)
}

// Push adds an item at the end.
func (s *items[T]) Push(x any) {
	*s = append(*s, x.(T))
	*x.(T).Place() = Place(len(*s))
}

// Pop removes the item at the end.
func (s *items[T]) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	var none T
	(*s)[last] = none
	*s = (*s)[:last]
	*x.Place() = 0
	return x
}
