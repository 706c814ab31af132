package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamerson/streamerson-go/gateways/parts"
)

// Collector is a prometheus.Collector over the parts of a program. It is safe for concurrent use.
type Collector struct {
	set    *parts.Set
	graphs *history
	within time.Duration
}

// Option is an option of New.
type Option func(*Collector)

// Within limits how long a scrape waits for Redis, which it asks for lag, pending entries and the
// depths of queues. Defaults to 1s. Choose it below the scrape_timeout of Prometheus. 0 or less does not ask.
func Within(d time.Duration) Option { return func(c *Collector) { c.within = d } }

const defaultWithin = time.Second

// New makes a collector. A set needs one only. Parts may be added to the set later. Counts of graphs
// that were started and replaced before New are missing.
func New(set *parts.Set, opts ...Option) *Collector {
	c := &Collector{set: set, graphs: newHistory(set), within: defaultWithin}
	for _, o := range opts {
		o(c)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range all {
		to <- d
	}
}

// Collect implements prometheus.Collector. It returns after Within at the latest, with what it knows
// by then.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.within)
	defer cancel()
	s := newSamples()
	depths := askDepths(ctx, c.set) // while the graphs ask for lag
	c.graphs.collect(ctx, s)
	collectGateways(c.set, s)
	depths(s)
	s.send(to)
}
