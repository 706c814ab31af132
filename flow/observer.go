package flow

import "context"

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

// observed tells the observers of a context that a graph has started.
func observed(ctx context.Context, r *Running) {
	o, _ := ctx.Value(observerKey{}).(*observers)
	for ; o != nil; o = o.outer {
		o.Started(r)
	}
}
