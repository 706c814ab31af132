package reader

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// health records when the server last answered a reader, and what went wrong since. Probes ask it.
type health struct {
	keeps bool // the reader makes round trips besides its reads

	mu      sync.Mutex
	trip    time.Time // the last round trip, of reads or of renewals
	read    time.Time // the last round trip of a read, or the begin of a read after which none has failed
	reading bool      // a Read is under way
	readErr error     // since read
	keepErr error     // since the last renewal that worked
}

func (h *health) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reading = true
	if h.readErr == nil {
		h.read = time.Now()
	}
}

func (h *health) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reading = false
}

// tell records the result of a read's round trip.
func (h *health) tell(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readErr = err; err == nil {
		h.read = time.Now()
		h.trip = h.read
	}
}

// kept records the result of a round trip besides the reads.
func (h *health) kept(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keepErr = err; err == nil {
		h.trip = time.Now()
	}
}

func (h *health) last() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trip
}

// check returns an error if there was no round trip for longer than within. While a Read is under
// way, or has failed, it checks the reads. Otherwise it checks the other round trips, if the reader
// makes such.
func (h *health) check(within time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, why := h.trip, h.keepErr
	switch {
	case h.reading || h.readErr != nil:
		at, why = h.read, h.readErr
	case !h.keeps:
		return nil
	}
	silent := time.Since(at)
	if silent <= within {
		return nil
	}
	if why == nil {
		why = errors.New("an answer is awaited")
	}
	return fmt.Errorf(
		"no round trip to Redis for %v, since %s: %w",
		silent.Round(time.Millisecond),
		at.Format(time.RFC3339),
		why,
	)
}

// LastRoundTrip returns when the server last answered the reader without an error. It returns the
// zero time before Open.
func (l *loop) LastRoundTrip() time.Time { return l.health.last() }

// Ready is for readiness probes. It returns an error if the reader is not open, or if no round trip
// to the server succeeded for longer than within. The error names the cause. A Group makes a round
// trip at least every Block while Read runs, and every third of the lease otherwise. A Tail makes
// none while Read does not run, and is ready then. Choose within well above both, and above the
// duration of a failover.
func (l *loop) Ready(within time.Duration) error {
	err := l.usable()
	if err == nil {
		err = l.health.check(within)
	}
	if err != nil {
		return fmt.Errorf("redisio: %s is not ready: %w", l.name, err)
	}
	return nil
}
