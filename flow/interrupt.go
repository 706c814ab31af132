package flow

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/streamerson/streamerson-go/flow/internal/run"
)

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
func contained(f func() error, exited func()) error {
	p, err := run.Call(f, exited)
	if p != nil {
		return &PanicError{Value: p.Value, Stack: p.Stack}
	}
	return err
}
