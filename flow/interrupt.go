package flow

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// RunUntilInterrupt is Run for a program's main: the first Ctrl-C (SIGINT) or SIGTERM drains the graph, the second stops
// it, which gives back what is unfinished for others to take at once; a third is not caught and ends the process. Nil after
// a clean drain, also if a signal asked for it.
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
	select {
	case <-r.Done():
	case sig := <-signals:
		signal.Stop(signals)
		r.log.Warn("interrupted again: stopping, what is unfinished is given back", "signal", sig.String())
		r.stopHard(ErrStopped)
	}
	return r.Wait()
}
