package operators

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// side is one side of a join: the values that wait.
type side[T any, K comparable] struct {
	key   func(T) K
	time  func(T) time.Time // nil: processing time
	wait  int64             // how long after its time a value waits
	alone bool              // a value without a partner is passed on
	keys  map[K][]*kept[T, K]
	due   waitingValues[T, K]
}

// kept is a value that waits.
type kept[T any, K comparable] struct {
	key     K
	ts      int64
	until   int64
	held    flow.Held[T]
	matched bool
}

func newSide[T any, K comparable](key func(T) K, at func(T) time.Time, wait time.Duration, alone bool) side[T, K] {
	return side[T, K]{key: key, time: at, wait: int64(wait), alone: alone, keys: make(map[K][]*kept[T, K])}
}

// locate returns the key and the time of a value. It reports false if one of them is of no use.
func (s *side[T, K]) locate(v T, clock int64) (key K, ts int64, valid bool, err error) {
	if key, err = calm(v, s.key); err != nil {
		return key, 0, false, fmt.Errorf("operators: join-within: key: %w", err)
	}
	if s.time == nil {
		return key, clock, key == key, nil
	}
	at, err := calm(v, s.time)
	if err != nil {
		return key, 0, false, fmt.Errorf("operators: join-within: time: %w", err)
	}
	ts, valid = within(at)
	return key, ts, valid && key == key, nil
}

func byTime[T any, K comparable](k *kept[T, K], ts int64) int { return cmp.Compare(k.ts, ts) }

// around returns the values of a key with times from first to last.
func (s *side[T, K]) around(key K, first, last int64) []*kept[T, K] {
	all := s.keys[key]
	from, _ := slices.BinarySearchFunc(all, first, byTime[T, K])
	to, _ := slices.BinarySearchFunc(all, last+1, byTime[T, K])
	return all[from:to]
}

// keep lets a value wait.
func (s *side[T, K]) keep(ctx context.Context, key K, ts int64, m flow.Message[T], matched bool) {
	k := &kept[T, K]{key: key, ts: ts, until: ts + s.wait, held: flow.Hold(ctx, m), matched: matched}
	at, _ := slices.BinarySearchFunc(s.keys[key], ts+1, byTime[T, K])
	s.keys[key] = slices.Insert(s.keys[key], at, k)
	heap.Push(&s.due, k)
}

// take removes the value that stops to wait first.
func (s *side[T, K]) take() *kept[T, K] {
	k := heap.Pop(&s.due).(*kept[T, K])
	left := slices.DeleteFunc(s.keys[k.key], func(of *kept[T, K]) bool { return of == k })
	if s.keys[k.key] = left; len(left) == 0 {
		delete(s.keys, k.key)
	}
	return k
}

// giveBack gives the values back that can go back.
func (s *side[T, K]) giveBack() {
	s.due = slices.DeleteFunc(s.due, func(k *kept[T, K]) bool {
		back := k.held.CanGoBack()
		if back {
			k.held.GiveBack()
		}
		return back
	})
	heap.Init(&s.due)
}

// waitingValues is a heap of the values that wait.
type waitingValues[T any, K comparable] []*kept[T, K]

// first returns the time after which the first value stops to wait.
func (w waitingValues[T, K]) first() int64 {
	if len(w) == 0 {
		return never
	}
	return w[0].until
}

func (w waitingValues[T, K]) Len() int           { return len(w) }
func (w waitingValues[T, K]) Less(i, j int) bool { return w[i].until < w[j].until }
func (w waitingValues[T, K]) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }

// Push implements heap.Interface.
func (w *waitingValues[T, K]) Push(x any) { *w = append(*w, x.(*kept[T, K])) }

// Pop implements heap.Interface.
func (w *waitingValues[T, K]) Pop() any {
	last := len(*w) - 1
	k := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return k
}
