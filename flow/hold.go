package flow

import "context"

// Held is a message that a handler keeps beyond its return: Batch, windows, joins of streams. It owns a share of the
// lease, so the entry stays unsettled until the hold is done or joined into another message. If the stage is restarted,
// or the graph is stopped, the framework gives the holds of the old life back (Nacked); the new life knows nothing of
// them.
//
// A Held belongs to its handler, and is ended in one of the handler's calls. Done and Fail on
// another goroutine are safe: they count as soon as the stage is idle, and if a call is running
// then, they fail with it. To acknowledge messages from other goroutines as a matter of course, use
// a [Ticket].
type Held[T any] struct {
	Message[T]
	hold *hold
	life uint32
}

// hold is a stage's record of a share that a handler keeps. Records are reused: life tells an old Held from a new one.
type hold struct {
	lease lease
	stage *stageBase // whose handler holds; nil outside a running graph
	at    int        // index in stage.holds
	life  uint32
}

// Hold keeps a message beyond the return of the handler that was given it. The context must be the handler's. Each Held
// must end in Done, Fail or Join. To pass a held message on later by itself, emit h.Message, which
// gets a share of its own, and then end the hold with Done. What is still held when the input has
// ended goes back to its source (Nacked, as a fault of the stage).
func Hold[T any](ctx context.Context, m Message[T]) Held[T] {
	if m.lease.none() {
		return Held[T]{Message: m}
	}
	if !m.lease.share(1) {
		m.lease = lease{} // kept too long already: it has settled, there is nothing left to hold
		return Held[T]{Message: m}
	}
	st := stageOf(ctx)
	if st == nil { // outside a running graph, as in a test of a handler on its own
		return Held[T]{Message: m, hold: &hold{lease: m.lease}}
	}
	h, life := st.hold(m.lease)
	if h == nil { // the stage is over: a goroutine of the user's has kept its context
		var n news
		m.lease.release(Nacked, nil, &n)
		n.tell()
	}
	return Held[T]{Message: m, hold: h, life: life}
}

// Done ends the hold: what was held is finished (acknowledged, if nothing else holds its entry). Doing it twice is
// harmless.
func (h Held[T]) Done() { h.end(nil) }

// Fail ends the hold with an error, which may be a verdict: Reject sends the entry to the dead letters, Skip drops it,
// RetryAfter has it delivered again after a while. With a Permanent error the graph stops. Any
// other error has the entry delivered again (Nacked). The fault policy is not asked.
func (h Held[T]) Fail(err error) { h.end(&Fault{Err: orUnspecified(err), Meta: h.Meta(), Tries: 1}) }

func (h Held[T]) end(f *Fault) {
	if h.hold == nil {
		return
	}
	st := h.hold.stage
	if st == nil { // outside a running graph
		var n news
		l := h.take()
		l.release(f.outcome(), f, &n)
		n.tell()
		return
	}
	st.holdMu.Lock()
	l := h.take()
	st.holdMu.Unlock()
	if !l.none() {
		st.endHold(ending{l, f})
	}
}

// take removes the hold's record and hands its share to the caller; none if it is gone already. The
// caller has the stage's holdMu.
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

// takeAll takes many holds, with one lock for those of a stage.
func takeAll[T any](held []Held[T]) (leases []lease, some bool) {
	leases = make([]lease, len(held))
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

// Join makes one message of many held ones: it ends their holds and takes over their shares, and when it settles, each
// of their entries gets its outcome. Metadata is the first one's, with that of all as Members where
// there are several. Like a message that the handler was given, it is the handler's until it
// returns: not emitted, it is done.
func Join[T, U any](ctx context.Context, v U, held []Held[T]) Message[U] {
	m := Message[U]{Value: v, meta: joinMeta(held)}
	members, some := takeAll(held)
	if !some {
		return m
	}
	s := newSlab(1, nil)
	s.members = members
	m.lease = lease{slab: s}
	if st := stageOf(ctx); st != nil {
		st.made(m.lease)
	}
	return m
}

func joinMeta[T any](held []Held[T]) *Meta {
	switch len(held) {
	case 0:
		return nil
	case 1:
		return held[0].meta
	}
	meta := *held[0].metaRef()
	meta.Members = make([]*Meta, len(held))
	for i := range held {
		meta.Members[i] = held[i].metaRef()
	}
	return &meta
}
