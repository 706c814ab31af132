package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamerson/streamerson-go/gateways"
)

// samples are the numbers of parts. Those with the same labels are merged.
type samples struct {
	numbers   map[identity]*number
	durations map[string]*durations
}

// identity is what only one number has: its metric and the values of its labels.
type identity struct {
	of     *metric
	labels string
}

type number struct {
	of     *metric
	labels []string
	value  float64
}

// durations are a histogram.
type durations struct {
	labels []string
	gateways.Latency
}

func newSamples() *samples {
	return &samples{numbers: make(map[identity]*number), durations: make(map[string]*durations)}
}

// put adds a number.
func (s *samples) put(m *metric, v float64, labels ...string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	k := identity{m, strings.Join(labels, "\xff")}
	if n := s.numbers[k]; n != nil {
		n.value = m.merge(n.value, v)
		return
	}
	s.numbers[k] = &number{m, labels, v}
}

// count adds a whole number.
func (s *samples) count(m *metric, n uint64, labels ...string) { s.put(m, float64(n), labels...) }

// flag adds 1 or 0.
func (s *samples) flag(m *metric, is bool, labels ...string) {
	v := 0.0
	if is {
		v = 1
	}
	s.put(m, v, labels...)
}

// took adds a histogram.
func (s *samples) took(l gateways.Latency, labels ...string) {
	k := strings.Join(labels, "\xff")
	d := s.durations[k]
	if d == nil {
		d = &durations{labels: labels}
		s.durations[k] = d
	}
	d.Count += l.Count
	d.Sum += l.Sum
	for i, n := range l.Buckets {
		d.Buckets[i] += n
	}
}

// add adds numbers of others.
func (s *samples) add(other *samples) {
	for _, n := range other.numbers {
		s.put(n.of, n.value, n.labels...)
	}
}

// keep adds the counters of others, without their gauges.
func (s *samples) keep(other *samples) {
	for _, n := range other.numbers {
		if n.of.kind == prometheus.CounterValue {
			s.put(n.of, n.value, n.labels...)
		}
	}
}

// send passes all to a channel of Collect.
func (s *samples) send(to chan<- prometheus.Metric) {
	for _, n := range s.numbers {
		to <- prometheus.MustNewConstMetric(n.of.desc, n.of.kind, n.value, n.labels...)
	}
	bounds := gateways.CallBounds()
	for _, d := range s.durations {
		upTo, n := make(map[float64]uint64, len(bounds)), uint64(0)
		for i, bound := range bounds {
			n += d.Buckets[i]
			upTo[seconds(bound)] = n
		}
		to <- prometheus.MustNewConstHistogram(clientLatency, d.Count, seconds(d.Sum), upTo, d.labels...)
	}
}

func seconds(d time.Duration) float64 { return d.Seconds() }
