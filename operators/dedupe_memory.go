package operators

import (
	"container/list"
	"context"
	"maps"
	"strings"
	"sync"
	"time"
)

// DedupeMemory is a DedupeStore in the memory of this process; its content is lost when the process
// ends. The zero value is ready to use. It must not be copied after first use.
type DedupeMemory struct {
	// Window is how long a key is remembered as done. Defaults to an hour.
	Window time.Duration
	// Most is the maximum number of keys remembered as done. Beyond it the oldest are forgotten.
	// Defaults to 100,000.
	Most int
	// Hold is the longest time a claim lasts. Defaults to 10 minutes.
	Hold time.Duration

	mu     sync.Mutex
	claims map[string]memoryClaim
	done   map[string]*list.Element // of byAge
	byAge  list.List                // of doneKey, oldest first
	sweep  time.Time                // when to remove expired claims next
}

type memoryClaim struct {
	token string
	until time.Time
}

type doneKey struct {
	key   string
	until time.Time
}

// Claim implements DedupeStore.
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

// Done implements DedupeStore.
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

// Release implements DedupeStore.
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

// forget drops expired keys, and the oldest keys beyond the limit.
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

// sameOwner reports whether two tokens have the same, non-empty owner.
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
