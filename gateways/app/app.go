package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/flow"
)

// Part is something that runs: a *flow.Graph, a *gateways.Service, a *ws.Hub, a *Server, a Func, or a type of your own.
// Run returns nil when it has ended cleanly after ctx was done. It returns an error when it cannot go on.
//
// A part may have two more methods. Validate() error reports mistakes before any part starts. Ready() error returns nil
// once the next part may start.
type Part interface {
	Run(ctx context.Context) error
}

// Func is a part that is a function.
type Func func(ctx context.Context) error

// Run calls f.
func (f Func) Run(ctx context.Context) error { return f(ctx) }

// Closing returns a part that waits until it is its turn to end. Then it calls end, for example the
// Close of a client, an event stream or a Redis client. The context of that call has the values of
// Run's context, and no deadline.
func Closing(end func(ctx context.Context) error) Part {
	return Func(func(ctx context.Context) error {
		<-ctx.Done()
		return end(context.WithoutCancel(ctx))
	})
}

// Main runs a program and exits with status 1 if it fails. The context of run is done on the first Ctrl-C (SIGINT) or
// SIGTERM. On the second, a Run that was given this context stops all its parts at once. The third
// is not caught: it ends the process.
func Main(name string, run func(ctx context.Context) error) {
	ctx, stop := interruptible(context.Background())
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Run runs the parts together until ctx is done, one of them fails, or all have ended.
//
// It reports the mistakes of all parts before it starts any. A part starts when the part before it
// is ready. When ctx is done, or a part has failed, the parts end in the reverse order, each one
// completely before the next begins to. If a part ends by itself without an error, such as a graph
// with finite sources, the others keep running.
//
// Nil means that all parts have ended without an error. Otherwise the errors of all parts are joined.
func Run(ctx context.Context, parts ...Part) error {
	if err := validate(parts); err != nil {
		return err
	}
	r := &runner{ctx: ctx, failed: make(chan struct{}), force: force(ctx)}
	for _, p := range parts {
		if l, ok := p.(listener); ok { // before any work starts: the address may be in use
			if err := l.listen(); err != nil {
				for _, p := range parts {
					if l, ok := p.(listener); ok {
						err = errors.Join(err, l.unlisten())
					}
				}
				return err
			}
		}
	}
	for _, p := range parts {
		if !r.start(p) {
			break
		}
	}
	r.wait()
	return r.end()
}

// listener is a part that takes an address before it runs.
type listener interface {
	listen() error
	unlisten() error // without effect once it has run
}

func validate(parts []Part) error {
	var errs []error
	for i, p := range parts {
		if p == nil {
			errs = append(errs, fmt.Errorf("app: part %d is nil: leave it out", i+1))
			continue
		}
		if v, ok := p.(interface{ Validate() error }); ok {
			errs = append(errs, v.Validate())
		}
	}
	return errors.Join(errs...)
}

// runner is one call of Run.
type runner struct {
	ctx    context.Context
	force  <-chan struct{} // closed on the second interrupt; nil without Main
	failed chan struct{}   // closed when a part has failed
	once   sync.Once
	parts  []*running
	all    sync.WaitGroup // of the goroutines that follow the parts
}

// running is a part that has been started.
type running struct {
	part   Part
	cancel context.CancelFunc // begins its end
	graph  *flow.Running      // nil if the part has no graph
	done   chan struct{}
	err    error // valid once done is closed
}

// start starts a part and waits until it is ready. It reports false if no further part should start.
func (r *runner) start(p Part) bool {
	select {
	case <-r.ctx.Done():
		return false
	case <-r.failed:
		return false
	default:
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.ctx))
	run := &running{part: p, cancel: cancel, done: make(chan struct{})}
	r.parts = append(r.parts, run)
	if g := graphOf(p); g != nil {
		started, err := g.Start(ctx)
		if err != nil {
			run.err = err
			close(run.done)
			r.fail()
			return false
		}
		run.graph = started
		r.all.Go(func() { run.follow(r, started.Wait) })
	} else {
		r.all.Go(func() { run.follow(r, func() error { return p.Run(ctx) }) })
	}
	return r.ready(run)
}

// follow waits for the end of a part.
func (run *running) follow(r *runner, wait func() error) {
	run.err = wait()
	if run.err != nil {
		r.fail()
	}
	close(run.done)
}

func (r *runner) fail() { r.once.Do(func() { close(r.failed) }) }

// graphOf returns the graph that a part is or has, or nil.
func graphOf(p Part) *flow.Graph {
	switch p := p.(type) {
	case *flow.Graph:
		return p
	case interface {
		Graph(opts ...flow.GraphOption) *flow.Graph
	}:
		return p.Graph()
	}
	return nil
}

// askEvery is the interval at which Run checks whether a part is ready.
const askEvery = 5 * time.Millisecond

// ready waits until a part is ready. It returns false if the part has failed or the program is
// ending.
func (r *runner) ready(run *running) bool {
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	for run.notReady() != nil {
		select {
		case <-ask.C:
		case <-run.done:
			return run.err == nil
		case <-r.failed:
			return false
		case <-r.ctx.Done():
			return false
		}
	}
	return true
}

func (run *running) notReady() error {
	if p, ok := run.part.(interface{ Ready() error }); ok {
		return p.Ready()
	}
	if run.graph != nil {
		return run.graph.Ready()
	}
	return nil
}

// wait waits until the parts have to end, or have ended by themselves.
func (r *runner) wait() {
	for _, run := range r.parts {
		select {
		case <-run.done:
		case <-r.failed:
			return
		case <-r.ctx.Done():
			return
		}
	}
}

// end ends the parts, the last one first.
func (r *runner) end() error {
	var errs []error
	for i := len(r.parts) - 1; i >= 0; i-- {
		run := r.parts[i]
		run.cancel()
		select {
		case <-run.done:
		case <-r.force:
			for _, other := range r.parts[:i+1] { // all at once
				other.cancel()
				if other.graph != nil {
					r.all.Go(func() { _ = other.graph.Stop() }) // its error is that of Wait
				}
			}
			<-run.done
		}
		errs = append(errs, run.err)
	}
	r.all.Wait()
	return errors.Join(errs...)
}
