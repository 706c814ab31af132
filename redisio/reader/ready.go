package reader

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// health is when a reader last heard of its server, and what went wrong since. It is asked by probes.
type health struct {
	mu      sync.Mutex
	trip    time.Time // the last round trip, of reads or of renewals
	read    time.Time // the last round trip of a read, or when a read began after which none has failed
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

// tell notes how a round trip of a read went.
func (h *health) tell(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readErr = err; err == nil {
		h.read = time.Now()
		h.trip = h.read
	}
}

// kept notes how a round trip beside the reads went.
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

// check reports how long there has been no round trip, if that is longer than within. While a Read
// is under way, or failed, the reads count. Else nobody reads, as when all credits are out, and
// others count, if the reader makes such.
func (h *health) check(within time.Duration, keeps bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, why := h.trip, h.keepErr
	switch {
	case h.reading || h.readErr != nil:
		at, why = h.read, h.readErr
	case !keeps:
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

// LastRoundTrip returns when the server last answered the reader as it should; zero before Open.
func (r *Group) LastRoundTrip() time.Time { return r.health.last() }

// Ready is for readiness probes: it returns an error when the reader is not open, or when for longer than within no
// round trip to the server succeeded, and says why. An idle reader makes one every Block, and one that nobody reads one
// every third of the lease: choose within well above both, and above the time that a failover may take.
func (r *Group) Ready(within time.Duration) error {
	err := r.usable()
	if err == nil {
		err = r.health.check(within, true)
	}
	if err != nil {
		return fmt.Errorf("redisio: group %q of %q is not ready: %w", r.cfg.Group, fault.KeyName(r.cfg.Key), err)
	}
	return nil
}

// LastRoundTrip is as [Group.LastRoundTrip].
func (r *Tail) LastRoundTrip() time.Time { return r.health.last() }

// Ready is as [Group.Ready]. A Tail that nobody reads asks the server nothing, and counts as ready.
func (r *Tail) Ready(within time.Duration) error {
	var err error
	switch r.state.Load() {
	case readerNew:
		err = redisio.ErrNotOpen
	case readerClosed:
		err = redisio.ErrClosed
	default:
		err = r.health.check(within, false)
	}
	if err != nil {
		return fmt.Errorf("redisio: tail of %q is not ready: %w", fault.KeyName(r.cfg.Key), err)
	}
	return nil
}
