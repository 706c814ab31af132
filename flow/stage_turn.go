package flow

import "context"

// turn runs the calls of a handler that emits. What the handler emits is buffered until it returns: only then is it
// known how many messages share the lease, and a failed call can take its output back. The stages with one output, with
// many, and with two of different types are turns with different buffers.
type turn struct {
	stageBase
	cur    lease   // of the message being handled
	shares int32   // emitted in this call with that lease and still buffered
	others []lease // of emitted messages with other leases: each owns a share made for it

	renew   func() // makes the handler afresh
	passOn  func() // pushes what is buffered to what is downstream, and empties the buffers
	discard func() // empties the buffers
}

// handle runs the handler on one message, with all the retries its faults deserve, and settles or passes on its share.
func (t *turn) handle(l lease, meta *Meta, call func(context.Context) error) {
	t.in++
	for tries := t.la.tried + 1; ; tries++ {
		t.cur = l
		err := t.guard(call)
		if err == nil {
			t.forward(false)
			return
		}
		t.undo()
		if _, panicked := err.(*PanicError); panicked { // its state cannot be trusted: what it held goes back
			t.dropHolds(nil)
			t.renewFor(l, t.renew)
			t.st.restarts.Add(1)
		}
		if !t.retry(l, meta, err, tries) {
			return
		}
	}
}

// apart runs a call that no message stands behind, such as End.
func (t *turn) apart(call func(context.Context) error) error {
	if err := t.guard(call); err != nil {
		t.undo()
		return err
	}
	t.forward(false)
	return nil
}

// emitted accounts for a message about to be buffered, and returns the lease it goes on with.
func (t *turn) emitted(l lease) lease {
	t.out++
	switch {
	case l.none():
	case l == t.cur:
		t.shares++
	case l.share(1):
		t.others = append(t.others, l)
	default:
		return lease{} // kept beyond its handler without a hold, and settled since
	}
	return l
}

// forward turns the message's own share and new ones into those of the buffered messages, and passes these on. keep
// leaves the own share with the handler, which is not done yet but has filled a chunk.
func (t *turn) forward(keep bool) {
	if !t.cur.none() {
		switch n := t.shares; {
		case keep && n > 0:
			t.cur.share(n)
		case keep || n == 1:
		case n == 0:
			t.cur.release(Acked, nil, &t.la.news)
		default:
			t.cur.share(n - 1)
		}
	}
	t.shares, t.others = 0, t.others[:0]
	if !keep {
		t.cur = lease{}
		t.endJoins(Acked)
	}
	t.passOn()
}

// undo takes back what the failed call has emitted and not passed on.
func (t *turn) undo() {
	for _, l := range t.others {
		// It may be the last share, if the handler has ended its hold: then an ack would be a loss.
		l.release(Nacked, nil, &t.la.news)
	}
	t.cur, t.shares, t.others = lease{}, 0, t.others[:0]
	t.endJoins(Nacked)
	t.discard()
}

func (t *turn) hook(end func() error) {
	t.la.hooks = append(t.la.hooks, hook{
		open:  func() error { t.renew(); return nil },
		flush: func(bool) { t.count() },
		end: func() error {
			if end != nil {
				if err := end(); err != nil {
					return err
				}
			}
			t.endHolds()
			t.count()
			return nil
		},
		drop: func() {
			t.dropHolds(nil)
			t.count()
		},
	})
}
