package source

import (
	"context"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// feed lets a producer that may block, and knows nothing of contexts, work for readers that must not.
//
// Idea: the producer runs on a goroutine of its own and yields items. It is allowed as many as a reader has asked for
// and is parked inside yield when it has made them, so it never works ahead of the credits. A
// reader takes what is there as soon as there is anything, and takes back the demand for the rest.
// So when nobody reads any more, the producer is parked, and is told to stop; or it is busy making
// one last item, and is left behind with it.
type feed[I any] struct {
	// produce yields items until yield reports false; then it returns nil, or io.EOF if there is
	// nothing more, or why it failed. If it returned nil it may be called again, to go on.
	produce func(yield func(I) bool) error

	mu      sync.Mutex // guards what follows
	made    []I        // and not yet taken
	want    int        // how many more may be made
	readers int
	running bool
	parked  bool
	end     error         // why produce has ended; nil while it has not
	exited  chan struct{} // closed when the producer's goroutine is at its end

	ready chan struct{} // holds a token when there is something to take, or the end
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

// join and leave count the readers. When the last has left the producer is stopped; leave waits for that for as long as
// grace, or, if it is parked and hence sure to come to its end, as long as ctx.
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

// ask allows the producer n items, those already made included, and starts it if it is not running.
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

// take gives what has been made to add, which says how much of it it took. If that is anything, or if it is the last
// time, it revokes the demand for more. It returns how the producer ended once there is nothing left to take.
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
		wake(f.ready) // for this reader's next call, or for another, whose demand was revoked too
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
		if !returned { // it panicked, or ended its goroutine: begun anew it would yield everything a second time
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

// ended notes that the producer has returned. It reports false if it is to be called again: it was stopped, and since
// then somebody has come who reads.
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
		<-f.more // leave and ask wake it, and every reader leaves
		f.mu.Lock()
		f.parked = false
	}
	goOn := f.readers > 0
	f.mu.Unlock()
	return goOn
}

// feedReader reads a feed. Its producer's error ends the graph, but in order: see Commit.
type feedReader[T, I any] struct {
	feed  *feed[I]
	add   func(in *flow.Intake[T], made []I) int // adds as many as there is room for
	grace time.Duration

	joined bool

	mu      sync.Mutex // guards what follows
	added   uint64
	settled uint64
	failure error // to be reported once all that was added has settled
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

// count notes what was added. It reports true if all of it has settled, so that no settlement is to come that could
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

// Commit reports the producer's error together with the last settlement. Read cannot: it would stop the graph under the
// values that came before the error.
func (r *feedReader[T, I]) Commit(_ context.Context, settled []flow.Settlement) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled += uint64(len(settled))
	if r.failure == nil || r.settled < r.added {
		return nil
	}
	err := r.failure
	r.failure = nil // it is called again with the same settlements
	return err
}

func (r *feedReader[T, I]) Close(ctx context.Context) error {
	if r.joined {
		r.feed.leave(ctx, r.grace)
	}
	return nil
}
