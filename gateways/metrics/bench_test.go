package metrics_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/metrics"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// numbersUpTo is a source of n numbers.
func numbersUpTo(n int) flow.Source[int] {
	return source.Seq(func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
	})
}

// BenchmarkScrapedGraph compares a busy graph of ten stages that is scraped once a second, which is
// more often than usual, with one that is not, in turns. Run it with -benchtime=9x or so; slower-%
// is the median.
func BenchmarkScrapedGraph(b *testing.B) {
	const messages = 20_000_000
	run := func(ctx context.Context) time.Duration {
		s := numbersUpTo(messages)
		for i := range 10 {
			s = operators.Map(s, flow.Pure(func(n int) int { return n + 1 }), flow.Name(fmt.Sprint("stage", i)))
		}
		began := time.Now()
		if err := flow.New("busy", flow.To(s, sink.Discard[int]())).Run(ctx); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	set, reg := parts.New(), prometheus.NewRegistry()
	reg.MustRegister(metrics.New(set))
	h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	var slower []float64
	scrapes := 0
	for b.Loop() {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
					scrapes++
				}
			}
		}()
		with := run(set.Watch(b.Context()))
		close(stop)
		<-stopped
		without := run(b.Context())
		slower = append(slower, 100*(with.Seconds()/without.Seconds()-1))
	}
	if scrapes == 0 {
		b.Fatal("no run took a second, so nothing was scraped: raise messages")
	}
	slices.Sort(slower)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(slower[len(slower)/2], "slower-%")
	b.ReportMetric(float64(scrapes)/float64(b.N), "scrapes/op")
}

// BenchmarkScrape measures one scrape of 50 graphs of 30 stages.
func BenchmarkScrape(b *testing.B) {
	set, reg := parts.New(), prometheus.NewRegistry()
	reg.MustRegister(metrics.New(set))
	for i := range 50 {
		s := numbersUpTo(1)
		for i := range 28 {
			s = operators.Map(s, flow.Pure(func(n int) int { return n + 1 }), flow.Name(fmt.Sprint("stage", i)))
		}
		g := flow.New(fmt.Sprint("graph", i), flow.To(s, sink.Discard[int]()))
		if err := g.Run(set.Watch(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
	h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		b.ReportMetric(float64(w.Body.Len()), "bytes")
		_, _ = io.Copy(io.Discard, w.Body)
	}
}
