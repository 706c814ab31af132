package flow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

// Supervisor runs graphs by name, for services that have several graphs or change them at run time.
// The zero value is not usable; use NewSupervisor.
type Supervisor struct {
	log *slog.Logger
	ctx context.Context

	mu     sync.Mutex
	graphs map[string]*Running
	closed bool
}

// SupervisorOption configures a Supervisor.
type SupervisorOption func(*Supervisor)

// SupervisorLog sets the supervisor's logger. Defaults to the one that [Logger] describes. Graphs
// use their own loggers.
func SupervisorLog(l *slog.Logger) SupervisorOption { return func(s *Supervisor) { s.log = l } }

// NewSupervisor makes a supervisor. When ctx is done, all its graphs drain. Their handlers see the
// values of ctx.
func NewSupervisor(ctx context.Context, opts ...SupervisorOption) *Supervisor {
	s := &Supervisor{ctx: ctx, graphs: make(map[string]*Running)}
	for _, o := range opts {
		o(s)
	}
	if s.log == nil {
		s.log = Logger(ctx)
	}
	return s
}

// Add starts a graph under its name. It returns ErrRunning if a graph of that name is running. The
// name of a graph that has ended is free again.
func (s *Supervisor) Add(g *Graph) (*Running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ctx.Err() != nil {
		return nil, fmt.Errorf("flow: add graph %q: %w", g.Name(), ErrStopped)
	}
	if old, ok := s.graphs[g.Name()]; ok && old.State() != Ended {
		return nil, fmt.Errorf("flow: add graph %q: %w", g.Name(), ErrRunning)
	}
	r, err := g.Start(s.ctx)
	if err != nil {
		return nil, err
	}
	s.graphs[g.Name()] = r
	return r, nil
}

// Get returns a graph that was added and not removed. The graph may have ended.
func (s *Supervisor) Get(name string) (*Running, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.graphs[name]
	if !ok {
		return nil, fmt.Errorf("flow: graph %q: %w", name, ErrUnknownGraph)
	}
	return r, nil
}

// Names returns the sorted names of the graphs.
func (s *Supervisor) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.graphs))
}

// Drain drains a graph and waits for its end. The ended graph stays available to Snapshot and
// Health.
func (s *Supervisor) Drain(ctx context.Context, name string) (DrainReport, error) {
	r, err := s.Get(name)
	if err != nil {
		return DrainReport{}, err
	}
	return r.Drain(ctx)
}

// Stop stops a graph now and waits for its end. The ended graph stays available to Snapshot and
// Health.
func (s *Supervisor) Stop(name string) error {
	r, err := s.Get(name)
	if err == nil {
		err = r.Stop()
	}
	return err
}

// Remove drains a graph and removes it.
func (s *Supervisor) Remove(ctx context.Context, name string) (DrainReport, error) {
	r, err := s.Get(name)
	if err != nil {
		return DrainReport{}, err
	}
	report, err := r.Drain(ctx)
	s.mu.Lock()
	if s.graphs[name] == r {
		delete(s.graphs, name)
	}
	s.mu.Unlock()
	return report, err
}

// Pause keeps a graph's sources from reading until Resume.
func (s *Supervisor) Pause(name string) error { return s.with(name, (*Running).Pause) }

// Resume undoes Pause.
func (s *Supervisor) Resume(name string) error { return s.with(name, (*Running).Resume) }

func (s *Supervisor) with(name string, f func(*Running)) error {
	r, err := s.Get(name)
	if err == nil {
		f(r)
	}
	return err
}

// Snapshot returns the snapshots of all graphs, sorted by name.
func (s *Supervisor) Snapshot(ctx context.Context) []Snapshot {
	var all []Snapshot
	for _, r := range s.all() {
		all = append(all, r.Snapshot(ctx))
	}
	return all
}

// Health returns nil if each graph runs or has ended cleanly. Otherwise it returns the joined
// errors of the graphs that have not. It makes no call to a backend, so it may be called often.
func (s *Supervisor) Health() error {
	var errs []error
	for _, r := range s.all() {
		if r.State() != Ended {
			continue
		}
		if err := r.Wait(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *Supervisor) all() []*Running {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Running, 0, len(s.graphs))
	for _, name := range slices.Sorted(maps.Keys(s.graphs)) {
		all = append(all, s.graphs[name])
	}
	return all
}

// Shutdown drains all graphs concurrently and refuses new ones. It returns their joined errors. It
// takes at most as long as each graph's DrainTimeout, or until ctx is done.
func (s *Supervisor) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	all := s.all()
	errs := make([]error, len(all))
	var drains run.Group
	for i, r := range all {
		drains.Go(func() { _, errs[i] = r.Drain(ctx) })
	}
	drains.Wait()
	s.log.Info("supervisor shut down", "graphs", len(all))
	return errors.Join(errs...)
}

// Wait waits until all graphs have ended, and returns their joined errors.
func (s *Supervisor) Wait() error {
	var errs []error
	for _, r := range s.all() {
		errs = append(errs, r.Wait())
	}
	return errors.Join(errs...)
}

// Run runs the graph until all its sources have ended or ctx is done. Then it drains the graph: the
// sources stop reading, and the messages already read are finished within DrainTimeout. It returns
// nil after a clean end. It returns a *StageError if the graph stopped by itself, a *DrainError if
// the drain was cut short, and the error of Validate if the graph did not start.
func (g *Graph) Run(ctx context.Context) error {
	r, err := g.Start(ctx)
	if err != nil {
		return err
	}
	return r.Wait()
}

// samePress is the time in which several signals count as one key press, because a terminal and a
// process manager may each send one.
const samePress = 200 * time.Millisecond

// RunUntilInterrupt is Run for the main function of a program. The first Ctrl-C (SIGINT) or SIGTERM
// drains the graph. The second stops it, which gives unfinished entries back at once. A third is
// not caught and ends the process. A signal within 200ms of the first is taken as the same key
// press. RunUntilInterrupt returns nil after a clean drain, even if a signal started it.
func (g *Graph) RunUntilInterrupt(ctx context.Context) error {
	var r *Running
	started := make(chan struct{})
	stop := OnInterrupt(func(sig os.Signal) {
		if <-started; r != nil {
			r.log.Info("interrupted: draining; interrupt again to stop at once", "signal", sig.String())
			r.end()
		}
	}, func(sig os.Signal) {
		if r != nil {
			r.log.Warn("interrupted again: stopping, unfinished entries are given back", "signal", sig.String())
			r.stopHard(ErrStopped)
		}
	})
	defer stop()
	run, err := g.Start(ctx)
	r = run
	close(started)
	if err != nil {
		return err
	}
	return r.Wait()
}

// OnInterrupt calls first at the first Ctrl-C (SIGINT) or SIGTERM, and again at the second. A third
// signal is not caught and ends the process. A signal within 200ms of the first is taken as the
// same key press. The functions run one after the other on a goroutine of their own.
//
// After stop, signals have their usual effect again. stop waits for a running function, so the
// functions must not call it. Further calls of stop do nothing.
func OnInterrupt(first, again func(os.Signal)) (stop func()) {
	signals, over := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := Aside(func() error {
		select {
		case <-over:
			return nil
		case sig := <-signals:
			first(sig)
		}
		for since := time.Now(); ; {
			select {
			case <-over:
				return nil
			case sig := <-signals:
				if time.Since(since) < samePress {
					continue
				}
				signal.Stop(signals)
				again(sig)
				return nil
			}
		}
	})
	return sync.OnceFunc(func() {
		signal.Stop(signals)
		close(over)
		<-ended
	})
}

// Aside runs f on a goroutine of its own. f may block and takes no context. The channel delivers
// the error of f, or its panic as a *PanicError, and is then closed. Readers and Writers use Aside
// for calls that cannot be interrupted, such as a Read of standard input. They wait for the channel
// and their context, and abandon f when the context is done.
func Aside(f func() error) <-chan error {
	done := make(chan error, 1)
	run.Aside(func() {
		defer close(done)
		done <- contained(f, func() { done <- errGoexit })
	})
	return done
}

// contained calls f at the bottom of one of our goroutines. It returns the error of f, or its panic
// as an error. exited is called if f ends the goroutine with runtime.Goexit.
func contained(f func() error, exited func()) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			err = recovered(v)
			return
		}
		exited()
	}()
	err = f()
	returned = true
	return err
}

// Values iterates over a source in plain Go. Each value is acknowledged when the loop asks for the
// next one. If the loop breaks, the last value is not acknowledged: it goes back to its source,
// together with everything read after it. If the source cannot deliver again, they are lost. The
// sequence ends when the source ends. When ctx is done, it yields the entries already read, at most
// MaxInFlight, and ends. It does not yield entries that the source can take back (see Traits). If
// the graph behind it stops by itself, or cannot start, the last pair is the zero value and that
// error.
//
//	for order, err := range flow.Values(ctx, orders) {
//		if err != nil {
//			return err
//		}
//		…
//	}
func Values[T any](ctx context.Context, in Source[T], opts ...GraphOption) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		next := make(chan T)
		answer := make(chan error)
		over := make(chan struct{})
		parts := []Part{To(in, NewSink("values", func() Writer[T] {
			return WriterFunc[T](func(hard context.Context, chunk []Message[T]) error {
				select {
				case next <- chunk[0].Value:
				case <-over:
					return errLoopOver
				case <-hard.Done():
					return context.Cause(hard)
				}
				return <-answer
			})
		}, ChunkSize(1), OnFault(Nack)))}
		for _, o := range opts {
			parts = append(parts, o)
		}
		r, err := New("values", parts...).Start(ctx)
		if err != nil {
			yield(zero, err)
			return
		}
		for {
			select {
			case v := <-next:
				more := false
				func() {
					// The sink waits for the answer, whether the loop body continues, breaks,
					// returns or panics.
					defer func() {
						if !more {
							r.stopHard(ErrStopped)
							close(over)
							answer <- errLoopOver
							<-r.done
						}
					}()
					more = yield(v, nil)
				}()
				if !more {
					return
				}
				answer <- nil
			case <-r.done:
				if err := r.Wait(); err != nil {
					yield(zero, err)
				}
				return
			}
		}
	}
}
