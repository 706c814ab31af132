package flow

import (
	"context"
	"sync"
	"sync/atomic"
)

// Held is a message that a handler keeps after it returns, as batches, windows and joins of streams
// do. It owns a share of the lease, so the entry stays unsettled until the hold is done or is
// joined into another message. If the stage is restarted or the graph is stopped, the framework
// gives the holds of the old life back (Nacked). The new life starts without holds.
//
// A Held belongs to its handler and is normally ended in a call of that handler. Calling Done and
// Fail on another goroutine is safe: they take effect when the stage is idle. If a call is running
// then, they fail together with that call. To acknowledge messages from other goroutines regularly,
// use a [Ticket].
type Held[T any] struct {
	Message[T]
	hold *hold
	life uint32
}

// hold is a stage's record of a share that a handler keeps. Records are reused; life distinguishes
// an old Held from a new one.
type hold struct {
	lease lease
	stage *stageBase // the stage of the holding handler; nil outside a running graph
	at    int        // index in stage.holds
	life  uint32
}

// holding is what the handler of one life of a stage holds, and what it made or ended in the current
// call.
type holding struct {
	holdMu  sync.Mutex // guards the fields below: any goroutine may end holds
	holds   []*hold
	spare   []*hold     // records to reuse
	joined  []lease     // joins made in the current call
	ended   []ending    // holds ended in the current call
	over    bool        // the life of the stage has ended
	touched atomic.Bool // joined or ended is not empty

	// Reused slices, owned by the lane's goroutine.
	wasJoined []lease
	wasEnded  []ending
	joins     joins
}

// Hold keeps a message after the handler that received it returns. ctx must be the handler's
// context. Each Held must end in Done, Fail, GiveBack or
// Join. To pass a held message on by itself later,
// emit h.Message, which gets its own share, and then call Done. A message that is still held when
// the input has ended goes back to its source (Nacked, as a fault of the stage).
func Hold[T any](ctx context.Context, m Message[T]) Held[T] {
	if m.lease.none() {
		return Held[T]{Message: m}
	}
	if !m.lease.share(1) {
		m.lease = lease{} // it was kept too long and has already settled, so there is nothing to hold
		return Held[T]{Message: m}
	}
	st := stageOf(ctx)
	if st == nil { // outside a running graph, such as in a test of the handler alone
		return Held[T]{Message: m, hold: &hold{lease: m.lease}}
	}
	h, life := st.hold(m.lease)
	if h == nil { // the stage has ended, but a goroutine of the user kept its context
		var n dirtySessions
		m.lease.release(Nacked, nil, &n)
		n.tell()
	}
	return Held[T]{Message: m, hold: h, life: life}
}

// Done ends the hold. The entry is acknowledged if no other share holds it. A second call has no
// effect.
func (h Held[T]) Done() { h.end(nil) }

// Fail ends the hold with an error, which may be a verdict: Reject sends the entry to the dead
// letters, Skip drops it, RetryAfter has it delivered again after a delay. A Permanent error stops
// the graph. Any other error has the entry delivered again (Nacked). The fault policy is not asked.
func (h Held[T]) Fail(err error) { h.end(&Fault{Err: orUnspecified(err), Meta: h.Meta(), Tries: 1}) }

// GiveBack ends the hold of a message that is not needed, such as one that has found no partner. The
// entry goes back to its source, which does not count the delivery, or is dropped if the source
// cannot deliver it again.
func (h Held[T]) GiveBack() {
	if !h.CanGoBack() {
		h.Fail(Skip)
		return
	}
	h.finish(ending{back: true})
}

// CanGoBack reports whether the source of the message delivers it again after GiveBack. A message
// without an entry cannot go back.
func (h Held[T]) CanGoBack() bool {
	redelivers := !h.lease.none()
	h.lease.roots(func(s *session) { redelivers = redelivers && s.source.node.Redelivers })
	return redelivers
}

func (h Held[T]) end(f *Fault) { h.finish(ending{fault: f}) }

// finish ends the hold as e says.
func (h Held[T]) finish(e ending) {
	if h.hold == nil {
		return
	}
	st := h.hold.stage
	if st == nil { // outside a running graph
		var n dirtySessions
		e.lease = h.take()
		e.lease.release(e.outcome(), e.fault, &n)
		n.tell()
		return
	}
	st.holdMu.Lock()
	e.lease = h.take()
	st.holdMu.Unlock()
	if !e.lease.none() {
		st.endHold(e)
	}
}

// take removes the hold's record and returns its share, or the zero lease if the hold has already
// ended. The caller holds the stage's holdMu.
func (h Held[T]) take() lease {
	if h.hold == nil || h.hold.life != h.life || h.hold.lease.none() {
		return lease{}
	}
	l := h.hold.lease
	if h.hold.stage != nil {
		h.hold.stage.unhold(h.hold)
	} else {
		h.hold.lease = lease{}
	}
	return l
}

// takeAll takes many holds. It locks each stage once for adjacent holds of that stage.
func takeAll[T any](held []Held[T], room *join) (leases []lease, some bool) {
	if leases = room.leases[:]; len(held) > len(leases) {
		leases = make([]lease, len(held))
	}
	leases = leases[:len(held)]
	var locked *stageBase
	for i := range held {
		if h := held[i].hold; h != nil && h.stage != locked {
			if locked != nil {
				locked.holdMu.Unlock()
			}
			if locked = h.stage; locked != nil {
				locked.holdMu.Lock()
			}
		}
		leases[i] = held[i].take()
		some = some || !leases[i].none()
	}
	if locked != nil {
		locked.holdMu.Unlock()
	}
	return leases, some
}

// Join makes one message from many held ones. It ends their holds and takes over their shares. When
// the message settles, each of the entries gets its outcome. The metadata is that of the first
// message; if there are several, Members has the metadata of all. The handler owns the new message
// until it returns, as it owns a message it received: if it does not emit the message, the message
// is done.
func Join[T, U any](ctx context.Context, v U, held []Held[T]) Message[U] {
	st := stageOf(ctx)
	var room *join
	if st != nil {
		room = st.joins.next()
	} else {
		room = &join{}
	}
	m := Message[U]{Value: v, meta: joinMeta(held, room)}
	members, some := takeAll(held, room)
	if !some {
		return m
	}
	s := &room.slab
	s.cells, s.left, s.members = room.cell[:], 1, members
	m.lease = lease{slab: s}
	if st != nil {
		st.traceJoin(s)
		st.made(m.lease)
	}
	return m
}

// join is the room for a join, in one piece: its lease and its metadata. Joins of two messages need no
// other.
type join struct {
	slab    slab
	cell    [1]cell
	meta    joinRecord
	leases  [2]lease
	records [2]*record
}

// joins is the room for the next joins of a stage. It is made for several at once. The room of a join
// is free when those that were made with it have settled too.
type joins struct {
	free []join
	made int
}

const mostJoins = 16

func (j *joins) next() *join {
	if len(j.free) == 0 {
		j.made = min(2*j.made+1, mostJoins)
		j.free = make([]join, j.made)
	}
	first := &j.free[0]
	j.free = j.free[1:]
	return first
}

func joinMeta[T any](held []Held[T], room *join) *record {
	switch len(held) {
	case 0:
		return nil
	case 1:
		return held[0].meta
	}
	members := room.records[:0]
	if len(held) > cap(members) {
		members = make([]*record, 0, len(held))
	}
	for i := range held {
		members = append(members, held[i].meta)
	}
	return members[0].joinsIn(members, &room.meta)
}

// hold records a share that the handler keeps. It returns nil if the life of the stage has ended.
func (s *stageBase) hold(l lease) (h *hold, life uint32) {
	s.holdMu.Lock()
	defer s.holdMu.Unlock()
	if s.over {
		return nil, 0
	}
	if n := len(s.spare); n > 0 {
		h, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		h = &hold{stage: s}
	}
	h.lease, h.at = l, len(s.holds)
	s.holds = append(s.holds, h)
	return h, h.life
}

// unhold removes a record. The caller holds holdMu.
func (s *stageBase) unhold(h *hold) {
	last := len(s.holds) - 1
	s.holds[h.at] = s.holds[last]
	s.holds[h.at].at = h.at
	s.holds[last] = nil
	s.holds = s.holds[:last]
	h.lease = lease{}
	h.life++
	s.spare = append(s.spare, h)
}

// made records a lease made by the current call, which owns a share of it until it returns.
func (s *stageBase) made(l lease) {
	if s.inCall(func() { s.joined = append(s.joined, l) }) {
		return
	}
	var n dirtySessions
	l.release(Nacked, nil, &n)
	n.tell()
}

// inCall records what belongs to the current call. It reports false if the life of the stage has
// ended.
func (s *stageBase) inCall(record func()) bool {
	s.holdMu.Lock()
	defer s.holdMu.Unlock()
	if s.over {
		return false
	}
	record()
	s.touched.Store(true)
	return true
}

// endHold ends a hold together with the current call, or as soon as the lane is idle. Any goroutine
// may call it.
func (s *stageBase) endHold(e ending) {
	if s.inCall(func() { s.ended = append(s.ended, e) }) {
		s.la.strayed()
		return
	}
	var n dirtySessions
	s.endNow(e, &n)
	n.tell()
}

// dropHolds gives back all holds of the handler after its life has ended. f is the fault that
// caused this, or nil.
func (s *stageBase) dropHolds(f *Fault) {
	s.holdMu.Lock()
	var leases []lease
	for len(s.holds) > 0 {
		h := s.holds[len(s.holds)-1]
		leases = append(leases, h.lease)
		s.unhold(h)
	}
	s.holdMu.Unlock()
	for _, l := range leases {
		if f == nil && s.la.run.hard.Err() != nil { // the graph is stopped, and held messages were not used yet
			l.giveBack(&s.la.dirty)
		} else {
			l.release(Nacked, f, &s.la.dirty)
		}
	}
}

// endHolds gives back holds that the handler did not end before its input ended.
func (s *stageBase) endHolds() {
	s.dropHolds(&Fault{Graph: s.la.run.graph.name, Stage: s.st.name, Err: errLeftHeld, Tries: 1})
	s.noHolds()
}

// noHolds ends the time in which holds are possible. Holds that end later are settled at once.
func (s *stageBase) noHolds() {
	s.holdMu.Lock()
	s.over = true
	s.holdMu.Unlock()
	s.dropHolds(nil)
	s.endCall(false)
}
