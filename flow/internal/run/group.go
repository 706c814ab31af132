// Package run starts all goroutines of package flow, each next to the wait for it.
package run

import (
	"sync"
	"time"
)

// Group is a set of goroutines to wait for.
type Group struct {
	wg   sync.WaitGroup
	once sync.Once
	done chan struct{}
}

// Go starts f. It must not be called after Wait or WaitFor may have returned.
func (g *Group) Go(f func()) { g.wg.Go(f) }

// Wait waits for all goroutines of the group.
func (g *Group) Wait() { g.wg.Wait() }

// Done returns a channel that is closed when all goroutines of the group have ended. Call it after
// the last one was started.
func (g *Group) Done() <-chan struct{} {
	g.once.Do(func() {
		g.done = make(chan struct{})
		go func() { // ends when the group has ended
			g.wg.Wait()
			close(g.done)
		}()
	})
	return g.done
}

// WaitFor waits for the group for at most d, and reports whether it has ended.
func (g *Group) WaitFor(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-g.Done():
		return true
	case <-t.C:
		return false
	}
}

// Aside starts a goroutine that this package does not wait for; f itself signals its end. Use it
// for calls that cannot be interrupted and may have to be abandoned.
func Aside(f func()) { go f() }
