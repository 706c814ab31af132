package redistest

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Patience is how long a test waits for an expected state. It elapses only on failure, so it is
// long enough for a busy machine.
const Patience = 2 * time.Minute

// answerIn is how long clients wait for a connection and for a reply. A client that gives up repeats
// the command or reports an unknown outcome, and a busy machine may stop the server for some seconds.
const answerIn = 30 * time.Second

// Soon polls until a state is true that has no signal, such as a server's state. It fails the test
// after Patience. what describes the state, such as "the entry is acknowledged".
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

// Entry returns the arguments of XAdd for an entry. fields are names and values, alternating.
func Entry(key string, fields ...string) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: key, Values: fields}
}
