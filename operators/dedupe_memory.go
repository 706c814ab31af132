package operators

import (
	"container/list"
	"context"
	"maps"
	"strings"
	"sync"
	"time"
)

// DedupeMemory is a DedupeStore in the memory of this process; it forgets when the process ends.
// The zero value is ready. It must not be copied once it is used.
type DedupeMemory struct {
	// Window is how long a key is remembered as done. The default is an hour.
	Window time.Duration
	// Most is how many keys are remembered as done; beyond it the oldest are forgotten. The default is 100,000.
	Most int
	// Hold is how long a claim lasts at most. The default is 10 minutes.
	Hold time.Duration

	mu     sync.Mutex
	claims map[string]memoryClaim
	done   map[string]*list.Element // of byAge
	byAge  list.List                // of doneKey, the oldest first
	sweep  time.Time                // when to look for claims that nobody has ended
}

type memoryClaim struct {
	token string
	until time.Time
}

type doneKey struct {
	key   string
	until time.Time
}

// Claim is that of DedupeStore.
func (s *DedupeMemory) Claim(_ context.Context, keys, tokens []string) ([]time.Duration, error) {
	now, hold := time.Now(), or(s.Hold, 10*time.Minute)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now)
	if s.claims == nil {
		s.claims = make(map[string]memoryClaim)
	}
	if now.After(s.sweep) {
		s.sweep = now.Add(hold)
		maps.DeleteFunc(s.claims, func(_ string, c memoryClaim) bool { return !c.until.After(now) })
	}
	busy := make([]time.Duration, len(keys))
	for i, key := range keys {
		c, claimed := s.claims[key]
		switch {
		case s.done[key] != nil:
			busy[i] = -1
		case claimed && c.until.After(now) && c.token != tokens[i] && !sameOwner(c.token, tokens[i]):
			busy[i] = c.until.Sub(now)
		default:
			s.claims[key] = memoryClaim{tokens[i], now.Add(hold)}
		}
	}
	return busy, nil
}

// Done is that of DedupeStore.
func (s *DedupeMemory) Done(_ context.Context, keys, _ []string) error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(map[string]*list.Element)
	}
	for _, key := range keys {
		delete(s.claims, key)
		if s.done[key] == nil {
			s.done[key] = s.byAge.PushBack(doneKey{key, now.Add(or(s.Window, time.Hour))})
		}
	}
	s.forget(now)
	return nil
}

// Release is that of DedupeStore.
func (s *DedupeMemory) Release(_ context.Context, keys, tokens []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, key := range keys {
		if s.claims[key].token == tokens[i] {
			delete(s.claims, key)
		}
	}
	return nil
}

// forget drops what is too old, and the oldest of what is too much.
func (s *DedupeMemory) forget(now time.Time) {
	for s.byAge.Len() > 0 {
		first := s.byAge.Front()
		k := first.Value.(doneKey)
		if s.byAge.Len() <= or(s.Most, 100_000) && k.until.After(now) {
			return
		}
		s.byAge.Remove(first)
		delete(s.done, k.key)
	}
}

// sameOwner tells whether two tokens have the same owner, and one at all.
func sameOwner(a, b string) bool {
	owner, _, ok := strings.Cut(a, "\n")
	return ok && owner != "" && strings.HasPrefix(b, owner+"\n")
}

func or[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}
