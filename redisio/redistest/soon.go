package redistest

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Patience is how long a test waits for what has to come. It passes only when something is wrong,
// so it is long enough for a machine that is busy with other things.
const Patience = time.Minute

// Soon waits until something is true that nothing signals, as what a server knows. It asks again
// and again, and fails the test after Patience; what says what it waits for, as "the entry is
// acknowledged".
func Soon(t testing.TB, what string, is func() bool) {
	t.Helper()
	late := time.After(Patience)
	for pause := 2 * time.Millisecond; !is(); pause = min(2*pause, 20*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-late:
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// Entry is what XAdd takes to write an entry: fields are names and values, in turn.
func Entry(key string, fields ...string) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: key, Values: fields}
}
