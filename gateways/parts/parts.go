// Package parts is what a program has to show: its graphs, services, clients, hubs, routes and
// queues. The
// packages that show it, such as metrics, take a Set.
//
//	show := parts.New().Service(orders).Client(stock).Hub(chat)
//	ctx = show.Watch(ctx) // also each graph that starts with ctx
package parts

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/gateways/ws"
)

// Set is the parts of a program to show. Parts may be added while it is shown. It is safe for
// concurrent use.
type Set struct {
	mu          sync.Mutex
	observers   []flow.Observer
	watched     []*flow.Running
	supervisors []*flow.Supervisor
	services    []*gateways.Service
	clients     []*gateways.Client
	hubs        []*ws.Hub
	events      []*sse.Handler
	routes      []*web.Endpoint
	queues      []Queue
}

// Queue is a *jobs.Queue, of jobs of any type.
type Queue interface {
	Name() string
	Depths(context.Context) ([]jobs.Depth, error)
}

// New makes a set without parts.
func New() *Set { return &Set{} }

// Supervisor adds all graphs of a supervisor, also those that it gets later.
func (s *Set) Supervisor(v *flow.Supervisor) *Set { return add(s, &s.supervisors, v) }

// Graph adds a running graph.
func (s *Set) Graph(r *flow.Running) *Set { return add(s, &s.watched, r) }

// Service adds a service. Its graph is a part of its own: see Watch.
func (s *Set) Service(v *gateways.Service) *Set { return add(s, &s.services, v) }

// Client adds a client.
func (s *Set) Client(c *gateways.Client) *Set { return add(s, &s.clients, c) }

// Hub adds a hub of WebSockets. Its graph is a part of its own: see Watch.
func (s *Set) Hub(h *ws.Hub) *Set { return add(s, &s.hubs, h) }

// Events adds a handler of server-sent events.
func (s *Set) Events(h *sse.Handler) *Set { return add(s, &s.events, h) }

// Route adds an HTTP route to a service.
func (s *Set) Route(e *web.Endpoint) *Set { return add(s, &s.routes, e) }

// Queue adds a queue of jobs. Its graphs are parts of their own: see Watch.
func (s *Set) Queue(q Queue) *Set { return add(s, &s.queues, q) }

// add adds a part once; nil adds nothing.
func add[P comparable](s *Set, to *[]P, part P) *Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	var none P
	if part != none && !slices.Contains(*to, part) {
		*to = append(*to, part)
	}
	return s
}

// Watch returns a context for the program: each graph that is started with it is added to the set.
// A graph that has ended stays until another of its name starts.
func (s *Set) Watch(ctx context.Context) context.Context { return flow.WithObserver(ctx, (*watch)(s)) }

// Observe tells o of each graph that starts with a context of Watch from now on.
func (s *Set) Observe(o flow.Observer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observers = append(s.observers, o)
}

// watch hides Started from users of a Set.
type watch Set

// Started adds a graph, and removes those of its name that have ended.
func (w *watch) Started(r *flow.Running) {
	w.mu.Lock()
	observers := w.observers
	w.watched = append(slices.DeleteFunc(w.watched, func(old *flow.Running) bool {
		return old.State() == flow.Ended && old.Graph().Name() == r.Graph().Name()
	}), r)
	w.mu.Unlock()
	for _, o := range observers {
		o.Started(r)
	}
}

// Graphs returns the graphs of the set, sorted by name.
func (s *Set) Graphs() []*flow.Running {
	s.mu.Lock()
	all, supervisors := slices.Clone(s.watched), slices.Clone(s.supervisors)
	s.mu.Unlock()
	for _, v := range supervisors {
		for _, name := range v.Names() {
			if r, err := v.Get(name); err == nil && !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *flow.Running) int {
		return cmp.Compare(a.Graph().Name(), b.Graph().Name())
	})
	return all
}

// Services returns the services of the set, in the order in which they were added.
func (s *Set) Services() []*gateways.Service { return list(s, &s.services) }

// Clients returns the clients, in order.
func (s *Set) Clients() []*gateways.Client { return list(s, &s.clients) }

// Hubs returns the hubs, in order.
func (s *Set) Hubs() []*ws.Hub { return list(s, &s.hubs) }

// EventHandlers returns the handlers of server-sent events, in order.
func (s *Set) EventHandlers() []*sse.Handler { return list(s, &s.events) }

// Routes returns the routes, in order.
func (s *Set) Routes() []*web.Endpoint { return list(s, &s.routes) }

// Queues returns the queues of jobs, in order.
func (s *Set) Queues() []Queue { return list(s, &s.queues) }

func list[P any](s *Set, of *[]P) []P {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(*of)
}
