package source

import (
	"context"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// feed connects a producer that may block, and has no context, to readers that must not block.
//
// Idea: the producer runs on its own goroutine and yields items. It may make only as many as a
// reader has asked for, then it blocks inside yield, so it never works ahead of the credits. A
// reader takes the items that are ready and revokes its demand for the rest. When the last reader
// leaves, a parked producer is stopped, and a busy producer is abandoned with its last item.
type feed[I any] struct {
	// produce yields items until yield returns false; then it returns nil. Otherwise it returns
	// io.EOF at the end, or why it failed. If it returned nil it may be called again to continue.
	produce func(yield func(I) bool) error

	mu      sync.Mutex // guards the fields below
	made    []I        // not yet taken
	want    int        // number of items still allowed
	readers int
	running bool
	parked  bool
	end     error         // result of produce; nil until it has ended
	exited  chan struct{} // closed when the producer's goroutine has ended

	ready chan struct{} // holds a token when there are items to take, or an end
	more  chan struct{} // holds a token when want or readers have changed
}

func newFeed[I any](produce func(yield func(I) bool) error) *feed[I] {
	return &feed[I]{produce: produce, ready: make(chan struct{}, 1), more: make(chan struct{}, 1)}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// join and leave count the readers. When the last leaves, the producer is stopped. leave waits for
// that, at most for grace. A parked producer is sure to stop, so leave waits for it until ctx is
// done.
func (f *feed[I]) join() {
	f.mu.Lock()
	f.readers++
	f.mu.Unlock()
}

func (f *feed[I]) leave(ctx context.Context, grace time.Duration) {
	f.mu.Lock()
	f.readers--
	exited, parked := f.exited, f.parked
	last, running := f.readers == 0, f.running
	f.mu.Unlock()
	if !last {
		wake(f.ready)
		return
	}
	if !running {
		return
	}
	wake(f.more)
	if !parked {
		if grace == 0 {
			return
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, grace)
		defer cancel()
	}
	select {
	case <-exited:
	case <-ctx.Done():
	}
}

// ask allows the producer n items in total, including those already made, and starts it if it is
// not running.
func (f *feed[I]) ask(n int) {
	f.mu.Lock()
	f.want = n - len(f.made)
	start := !f.running && f.end == nil
	if start {
		f.running = true
		f.exited = make(chan struct{})
	}
	f.mu.Unlock()
	wake(f.more)
	if start {
		flow.Aside(f.run)
	}
}

// take passes the made items to add, which returns how many it took. If it took any, or if last is
// set, take revokes the demand for more. It returns the producer's end once no items are left.
func (f *feed[I]) take(add func([]I) int, last bool) (n int, end error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.made) > 0 {
		n = add(f.made)
	}
	left := copy(f.made, f.made[n:])
	clear(f.made[left:])
	f.made = f.made[:left]
	revoke := n > 0 || last
	if revoke {
		f.want = 0
	}
	if left > 0 || f.end != nil || revoke && f.readers > 1 {
		wake(f.ready) // wakes this reader's next call, or another reader that had its demand revoked
	}
	if left > 0 {
		return n, nil
	}
	return n, f.end
}

// run is the producer's goroutine.
func (f *feed[I]) run() error {
	returned := false
	defer func() {
		if !returned { // a panic or Goexit; a restarted producer would yield everything again
			f.ended(&flow.PanicError{Value: recover(), Stack: debug.Stack()})
		}
	}()
	for {
		err := f.produce(f.yield)
		if f.ended(err) {
			returned = true
			return nil
		}
	}
}

// ended records that the producer has returned. It returns false if the producer must be called
// again, because it was stopped and a new reader has joined since.
func (f *feed[I]) ended(err error) bool {
	f.mu.Lock()
	if err == nil && f.readers > 0 {
		f.mu.Unlock()
		return false
	}
	f.end, f.running = err, false
	close(f.exited)
	f.mu.Unlock()
	wake(f.ready)
	return true
}

func (f *feed[I]) yield(item I) bool {
	f.mu.Lock()
	f.made = append(f.made, item)
	f.want--
	if len(f.made) == 1 {
		wake(f.ready)
	}
	for f.want <= 0 && f.readers > 0 {
		f.parked = true
		f.mu.Unlock()
		<-f.more // leave and ask wake it; every reader leaves in the end
		f.mu.Lock()
		f.parked = false
	}
	goOn := f.readers > 0
	f.mu.Unlock()
	return goOn
}

// feedReader reads a feed. The producer's error ends the graph after all earlier values have
// settled: see Commit.
type feedReader[T, I any] struct {
	feed  *feed[I]
	add   func(in *flow.Intake[T], made []I) int // adds as many as fit
	grace time.Duration

	joined bool

	mu      sync.Mutex // guards the fields below
	added   uint64
	settled uint64
	failure error // reported when all added values have settled
}

func (r *feedReader[T, I]) Open(context.Context) error {
	r.joined = true
	r.feed.join()
	return nil
}

func (r *feedReader[T, I]) Read(ctx context.Context, in *flow.Intake[T]) error {
	for {
		last := ctx.Err() != nil
		n, end := r.feed.take(func(made []I) int { return r.add(in, made) }, last)
		switch {
		case end != nil:
			return r.ends(n, end)
		case n > 0:
			r.count(n, nil)
			return nil
		case last:
			return ctx.Err()
		}
		r.feed.ask(in.Room())
		select {
		case <-r.feed.ready:
		case <-ctx.Done():
		}
	}
}

// count records n added values. It returns true if all have settled, so that no later Commit could
// report the failure.
func (r *feedReader[T, I]) count(n int, failure error) (idle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.added += uint64(n)
	if r.settled == r.added {
		return true
	}
	r.failure = failure
	return false
}

func (r *feedReader[T, I]) ends(n int, end error) error {
	if end == io.EOF {
		r.count(n, nil)
		return io.EOF
	}
	end = flow.Permanent(end)
	if r.count(n, end) {
		return end
	}
	return io.EOF
}

// Commit returns the producer's error with the last settlement. Read cannot return it, because that
// would stop the graph while values from before the error are in flight.
func (r *feedReader[T, I]) Commit(_ context.Context, settled []flow.Settlement) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled += uint64(len(settled))
	if r.failure == nil || r.settled < r.added {
		return nil
	}
	err := r.failure
	r.failure = nil // Commit is called again with the same settlements
	return err
}

func (r *feedReader[T, I]) Close(ctx context.Context) error {
	if r.joined {
		r.feed.leave(ctx, r.grace)
	}
	return nil
}
