package rig

import (
	"context"
	"testing"
	"time"
)

// Claimed claims one key of a dedupe store and returns "mine", "done" or "busy".
func Claimed(t *testing.T, s interface {
	Claim(ctx context.Context, keys, tokens []string) ([]time.Duration, error)
}, key, token string) string {
	t.Helper()
	busy, err := s.Claim(Ctx(t), []string{key}, []string{token})
	switch {
	case err != nil:
		t.Fatal(err)
	case busy[0] < 0:
		return "done"
	case busy[0] > 0:
		return "busy"
	}
	return "mine"
}
