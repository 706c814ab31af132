package flow

import (
	"context"
	"iter"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

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

// Observer learns of the graphs that start with a context: see WithObserver.
type Observer interface {
	// Started is called by Start, after the graph has started. It must be quick. The graph may end
	// at any time after that: see Running.State and Running.Wait.
	Started(*Running)
}

type observerKey struct{}

// observers is the innermost observer of a context and those around it.
type observers struct {
	Observer
	outer *observers
}

// WithObserver returns a context that tells o of each graph that is started with it, by whatever
// function: Start, Run, RunUntilInterrupt, a Supervisor, a service. Observers that ctx already has
// learn of it too. So metrics and pages see the graphs of a program without being passed around.
func WithObserver(ctx context.Context, o Observer) context.Context {
	outer, _ := ctx.Value(observerKey{}).(*observers)
	return context.WithValue(ctx, observerKey{}, &observers{o, outer})
}

// observed informs the observers of a context that a graph has started.
func observed(ctx context.Context, r *Running) {
	o, _ := ctx.Value(observerKey{}).(*observers)
	for ; o != nil; o = o.outer {
		o.Started(r)
	}
}
