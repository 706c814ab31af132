package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/streamerson/streamerson-go/gateways"
)

// samples are the numbers of parts. Those with the same labels are merged.
//
// Idea: a stage has a dozen numbers with the same labels. They share a row, so that a scrape builds
// the labels once for all of them.
type samples struct {
	rows      map[identity]*row
	last      *row // the numbers of a part come one after the other
	durations map[histogram]*durations
}

// identity is what only one row has: the names of its labels and their values.
type identity struct {
	of     *scope
	labels string
}

// row is the numbers with the same labels.
type row struct {
	of      *scope
	labels  []string
	numbers []number
}

type number struct {
	of    *metric
	value float64
}

// histogram is what only one histogram has: its name and the values of its labels.
type histogram struct {
	of     *prometheus.Desc
	labels string
}

// durations are the values of a histogram.
type durations struct {
	labels []string
	gateways.Latency
}

func newSamples() *samples {
	return &samples{rows: make(map[identity]*row), durations: make(map[histogram]*durations)}
}

// put adds a number. It does not keep labels.
func (s *samples) put(m *metric, v float64, labels ...string) {
	r := s.last
	if r == nil || r.of != m.scope || !slices.Equal(r.labels, labels) {
		r = s.row(m.scope, labels)
	}
	for i := range r.numbers {
		if n := &r.numbers[i]; n.of == m {
			n.value = m.merge(n.value, v)
			return
		}
	}
	r.numbers = append(r.numbers, number{m, v})
}

// row returns the row of some labels.
func (s *samples) row(of *scope, labels []string) *row {
	labels = asText(labels)
	k := identity{of, strings.Join(labels, "\xff")}
	r := s.rows[k]
	if r == nil {
		r = &row{of: of, labels: labels, numbers: make([]number, 0, of.metrics)}
		s.rows[k] = r
	}
	s.last = r
	return r
}

// asText returns a copy of labels that Prometheus accepts: it refuses bytes that are not text.
func asText(labels []string) []string {
	labels = slices.Clone(labels)
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	return labels
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
func (s *samples) took(of *prometheus.Desc, l gateways.Latency, labels ...string) {
	labels = asText(labels)
	k := histogram{of, strings.Join(labels, "\xff")}
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
	for _, r := range other.rows {
		for _, n := range r.numbers {
			s.put(n.of, n.value, r.labels...)
		}
	}
}

// keep adds the counters of others, without their gauges.
func (s *samples) keep(other *samples) {
	for _, r := range other.rows {
		for _, n := range r.numbers {
			if n.of.kind == prometheus.CounterValue {
				s.put(n.of, n.value, r.labels...)
			}
		}
	}
}

// send passes all to a channel of Collect, in the order that the registry sorts them into, because it
// sorts what is sorted much faster.
func (s *samples) send(to chan<- prometheus.Metric) {
	for _, r := range slices.SortedFunc(maps.Values(s.rows), compareRows) {
		r.send(to)
	}
	bounds := gateways.CallBounds()
	for k, d := range s.durations {
		upTo, n := make(map[float64]uint64, len(bounds)), uint64(0)
		for i, bound := range bounds {
			n += d.Buckets[i]
			upTo[seconds(bound)] = n
		}
		to <- prometheus.MustNewConstHistogram(k.of, d.Count, seconds(d.Sum), upTo, d.labels...)
	}
}

// compareRows orders rows by their labels' values, in the order of the labels' names.
func compareRows(a, b *row) int {
	for i := range min(len(a.labels), len(b.labels)) {
		if by := cmp.Compare(a.labels[a.of.sorted[i]], b.labels[b.of.sorted[i]]); by != 0 {
			return by
		}
	}
	return cmp.Compare(len(a.labels), len(b.labels))
}

// send passes the numbers of a row.
func (r *row) send(to chan<- prometheus.Metric) {
	pairs, values := make([]*dto.LabelPair, len(r.labels)), make([]dto.LabelPair, len(r.labels))
	for i, at := range r.of.sorted {
		values[i].Name, values[i].Value = &r.of.names[at], &r.labels[at]
		pairs[i] = &values[i]
	}
	sent := make([]sample, len(r.numbers))
	for i, n := range r.numbers {
		sent[i] = sample{number: n, labels: pairs}
		to <- &sent[i]
	}
}

// sample is a number with its labels, for one scrape.
type sample struct {
	number
	labels []*dto.LabelPair // sorted by their names; shared with the other numbers of the row
}

// Desc implements prometheus.Metric.
func (s *sample) Desc() *prometheus.Desc { return s.of.desc }

// Write implements prometheus.Metric.
func (s *sample) Write(to *dto.Metric) error {
	to.Label = s.labels
	if s.of.kind == prometheus.CounterValue {
		to.Counter = &dto.Counter{Value: &s.value}
	} else {
		to.Gauge = &dto.Gauge{Value: &s.value}
	}
	return nil
}

func seconds(d time.Duration) float64 { return d.Seconds() }
