package flow

import (
	"context"
	"os"
	"os/signal"
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
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	r, err := g.Start(ctx)
	if err != nil {
		return err
	}
	select {
	case <-r.Done():
		return r.Wait()
	case sig := <-signals:
		r.log.Info("interrupted: finishing what has been read (once more stops at once)", "signal", sig.String())
		r.once.Do(func() { close(r.ending) })
	}
	first := time.Now()
	for again := false; !again; {
		select {
		case <-r.Done():
			return r.Wait()
		case sig := <-signals:
			if time.Since(first) < samePress {
				continue
			}
			again = true
			signal.Stop(signals)
			r.log.Warn("interrupted again: stopping, what is unfinished is given back", "signal", sig.String())
			r.stopHard(ErrStopped)
		}
	}
	return r.Wait()
}
