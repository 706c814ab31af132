package flow

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// samePress is how long signals are taken for one press of a key: a terminal and a process manager may each send one.
const samePress = 200 * time.Millisecond

// RunUntilInterrupt is Run for a program's main: the first Ctrl-C (SIGINT) or SIGTERM drains the
// graph, the second stops it, which gives back what is unfinished for others to take at once; a
// third is not caught and ends the process. A signal within 200ms of the first is taken for the
// same press of a key. Nil after a clean drain, also if a signal asked for it.
func (g *Graph) RunUntilInterrupt(ctx context.Context) error {
	var r *Running
	started := make(chan struct{})
	stop := OnInterrupt(func(sig os.Signal) {
		if <-started; r != nil {
			r.log.Info("interrupted: finishing what has been read (once more stops at once)", "signal", sig.String())
			r.once.Do(func() { close(r.ending) })
		}
	}, func(sig os.Signal) {
		if r != nil {
			r.log.Warn("interrupted again: stopping, what is unfinished is given back", "signal", sig.String())
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

// OnInterrupt calls first at the first Ctrl-C (SIGINT) or SIGTERM, and again at the second one. A
// third signal is not caught and ends the process. A signal within 200ms of the first is taken for
// the same press of a key. The functions run one after the other on a goroutine of their own.
//
// After stop, signals have their usual effect again. It waits for a function that is running, so
// the functions must not call it. Further calls of stop do nothing.
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
