package redisio

import (
	"context"
	"slices"
	"sync"
	"time"
)

// heldSet is what a reader knows of its own pending entries: those it handed out and that are not
// settled (held), and those it gave back for later (parked). Both are pending for this consumer on the
// server; without the distinction, recovery of lost replies would take back what was nacked.
//
// Its lock guards a few operations on memory and is never held over I/O.
type heldSet struct {
	mu     sync.Mutex
	held   ledger
	counts map[ID]int64 // deliveries of held entries, where more than one
	parked map[ID]parked
	line   waitingLine // when which of parked falls due
	floor  int64       // no lease of a held entry was renewed before
	cut    int64       // when a connection broke last, or 0: the server may be another since

	// late has ids that are somebody else's now and whose settlement is still to come. It is bounded.
	late map[ID]struct{}

	// settling has the ids of acks and dead letters under way, by call: what the server has settled
	// already, while its answer is on its way here, is not lost.
	settling map[*[]string]struct{}
	quiet    chan struct{} // not nil while nothing may be settled; closed when that ends
	calm     chan struct{} // closed when nothing is being settled; nil when nobody waits for that

	resting *pause // what reading waits for, or nil
}

// Leases are timed by the monotonic clock, in milliseconds: were it the wall clock, a step of it would make leases look
// fresh that nobody renews, or lapsed that are not.
var epoch = time.Now()

const (
	ticksAtEpoch = 1 << 40 // so that ticks are positive
	forEver      = 1 << 42 // renewed then: there is nothing to renew any more
	maxLate      = 100_000 // ids in heldSet.late; whoever settles what was read never gets there
)

func ticks(t time.Time) int64 { return t.Sub(epoch).Milliseconds() + ticksAtEpoch }

func (h *heldSet) init() {
	h.held.init()
	h.counts, h.parked, h.late = make(map[ID]int64), make(map[ID]parked), make(map[ID]struct{})
	h.settling = make(map[*[]string]struct{})
}

// settle notes that ids are being settled, until the returned function is called. It waits while
// entries are restored: an ack between finding an entry missing and restoring it would be undone.
func (h *heldSet) settle(ctx context.Context, ids []string) (done func(), err error) {
	if err := h.lockWhenLoud(ctx); err != nil {
		return nil, err
	}
	defer h.mu.Unlock()
	h.settling[&ids] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.settling, &ids)
		if len(h.settling) == 0 && h.calm != nil {
			close(h.calm)
			h.calm = nil
		}
	}, nil
}

// quiesce waits until nothing is being settled, and keeps it so until the returned function is called.
func (h *heldSet) quiesce(ctx context.Context) (resume func(), err error) {
	if err := h.lockWhenLoud(ctx); err != nil {
		return nil, err
	}
	quiet := make(chan struct{})
	h.quiet = quiet
	resume = func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.quiet = nil
		close(quiet)
	}
	for len(h.settling) > 0 {
		if h.calm == nil {
			h.calm = make(chan struct{})
		}
		calm := h.calm
		h.mu.Unlock()
		select {
		case <-calm:
		case <-ctx.Done():
			resume()
			return nil, context.Cause(ctx)
		}
		h.mu.Lock()
	}
	h.mu.Unlock()
	return resume, nil
}

// lockWhenLoud locks when settling is allowed.
func (h *heldSet) lockWhenLoud(ctx context.Context) error {
	h.mu.Lock()
	for h.quiet != nil {
		quiet := h.quiet
		h.mu.Unlock()
		select {
		case <-quiet:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		h.mu.Lock()
	}
	return nil
}

// add records entries as held, since sent: when they were asked for. It returns those that were not held
// before: what is in hand is not handed out once more. Those without a position have no name to be settled by.
func (h *heldSet) add(entries []Entry, sent time.Time) []Entry {
	ms := ticks(sent)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.floor = min(h.floor, ms); h.held.n == 0 {
		h.floor = ms
	}
	kept := 0
	for i := range entries {
		id := entries[i].Position
		if !id.IsZero() && !h.held.put(id, ms) {
			continue
		}
		if kept != i {
			entries[kept] = entries[i]
		}
		kept++
		if n := entries[i].Deliveries; n > 1 {
			h.counts[id] = n
		} else if len(h.counts) > 0 {
			delete(h.counts, id)
		}
		if len(h.parked) > 0 {
			delete(h.parked, id)
		}
		if len(h.late) > 0 {
			delete(h.late, id)
		}
	}
	return entries[:kept]
}

func (h *heldSet) remove(ids []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			h.forget(id)
		}
	}
}

func (h *heldSet) forget(id ID) {
	h.held.delete(id)
	if len(h.counts) > 0 {
		delete(h.counts, id)
	}
	if h.resting != nil {
		h.resting.settled(id, h.held.n)
	}
}

func (h *heldSet) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held.n
}

// stale returns the held ids whose lease was not renewed since before, sorted.
func (h *heldSet) stale(before time.Time) []string {
	h.mu.Lock()
	ids := h.held.stale(ticks(before))
	h.mu.Unlock()
	return idStrings(ids)
}

// all returns all held ids, sorted.
func (h *heldSet) all() []string { return h.stale(time.UnixMilli(1<<62 - 1)) }

// renewed notes that the leases of ids were renewed, for those still held.
func (h *heldSet) renewed(ids []string, now time.Time) { h.renewedAt(ids, ticks(now)) }

// gone notes that entries are no longer in the stream: nobody can take them over, and nobody needs to renew them.
func (h *heldSet) gone(ids []string) { h.renewedAt(ids, forEver) }

func (h *heldSet) renewedAt(ids []string, ms int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if _, held := h.held.get(id); held {
				h.held.put(id, ms)
			}
		}
	}
}

// raise finds the true floor.
func (h *heldSet) raise() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.floor = h.held.oldest()
}

// asks says for each of ids how to restore it should it be pending for nobody: with how many deliveries, or not at
// all (0) when it is not held or its lease has lapsed, for then it was taken over and finished, most likely.
func (h *heldSet) asks(ids []string, now time.Time, lease time.Duration) []ask {
	since := ticks(now.Add(-lease))
	asks := make([]ask, len(ids))
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range ids {
		asks[i].id = s
		if id, err := ParseID(s); err == nil {
			if at, held := h.held.get(id); held && at > since {
				asks[i].n = max(1, h.counts[id])
			}
		}
	}
	return asks
}

// lapse notes that the leases of ids run out at open, before they are given back: should the outcome of that stay
// unknown, somebody else may have them from then on.
func (h *heldSet) lapse(ids []string, open []int64, lease time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range ids {
		if id, err := ParseID(s); err == nil {
			if at, held := h.held.get(id); held && at != forEver && open[i]-lease.Milliseconds() < at {
				at = open[i] - lease.Milliseconds()
				h.held.put(id, at)
				h.floor = min(h.floor, at)
			}
		}
	}
}

// split sorts ids to be acked. All of them may be acked plainly, nearly always, and are returned as they came. Else
// fenced are those whose lease has lapsed, or was last renewed on a connection that broke, and
// late, dropped here, those known to be somebody else's.
func (h *heldSet) split(ids []string, now time.Time, lease time.Duration) (plain, fenced []string, late int) {
	since := ticks(now.Add(-lease))
	h.mu.Lock()
	defer h.mu.Unlock()
	since = max(since, h.cut) // what was not renewed after it may be another's
	if len(h.late) == 0 && (h.floor > since || h.held.n == 0) {
		return ids, nil, 0
	}
	for _, s := range ids {
		id, err := ParseID(s)
		if err != nil {
			plain = append(plain, s) // the server refuses it, and says why
			continue
		}
		if _, gone := h.late[id]; gone {
			late++
		} else if at, held := h.held.get(id); held && at <= since {
			fenced = append(fenced, s)
		} else {
			plain = append(plain, s)
		}
	}
	return plain, fenced, late
}

// lose moves ids from held to late, but for those that are being settled. It returns those it moved.
func (h *heldSet) lose(ids []string) (lost []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range ids {
		id, err := ParseID(s)
		if err != nil || !h.open(s, id) {
			continue
		}
		h.forget(id)
		if len(h.late) == maxLate {
			for any := range h.late {
				delete(h.late, any)
				break
			}
		}
		h.late[id] = struct{}{}
		lost = append(lost, s)
	}
	return lost
}

// open reports an id that is held and not being settled. The lock is held.
func (h *heldSet) open(s string, id ID) bool {
	_, held := h.held.get(id)
	for ids := range h.settling {
		held = held && !slices.Contains(*ids, s)
	}
	return held
}

// inTime filters those that are not known to be somebody else's; nearly always it returns asks itself.
func (h *heldSet) inTime(asks []ask) []ask {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.late) == 0 {
		return asks
	}
	return slices.DeleteFunc(slices.Clone(asks), func(a ask) bool {
		id, err := ParseID(a.id)
		_, late := h.late[id]
		return err == nil && late
	})
}

// settled forgets that ids are somebody else's, for nothing more will be said about them. It returns those that were.
func (h *heldSet) settled(ids []string) (late []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.late) == 0 {
		return nil
	}
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if _, is := h.late[id]; is {
				delete(h.late, id)
				late = append(late, s)
			}
		}
	}
	return late
}

// unknown filters ids that are neither held nor parked.
func (h *heldSet) unknown(ids []string) []string {
	return h.filter(ids, func(_ string, id ID, held bool) bool {
		_, waits := h.parked[id]
		return !held && !waits
	})
}

// notHeld filters ids that are not held; parked ones pass.
func (h *heldSet) notHeld(ids []string) []string {
	return h.filter(ids, func(_ string, _ ID, held bool) bool { return !held })
}

// unsettled filters ids that are held and not being settled.
func (h *heldSet) unsettled(ids []string) []string {
	return h.filter(ids, func(s string, id ID, _ bool) bool { return h.open(s, id) })
}

// filter keeps, in place, the ids that keep says; those that are none go.
func (h *heldSet) filter(ids []string, keep func(s string, id ID, held bool) bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := ids[:0]
	for _, s := range ids {
		if id, err := ParseID(s); err == nil {
			if _, held := h.held.get(id); keep(s, id, held) {
				out = append(out, s)
			}
		}
	}
	return out
}

func idStrings(ids []ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}
