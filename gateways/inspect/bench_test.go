package inspect

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// BenchmarkOpenPage runs a graph at full speed with an open page and without one, in turn. slower-%
// is how much longer it takes with the page. The bound is 1.
func BenchmarkOpenPage(b *testing.B) {
	const messages = 30_000_000
	show := parts.New()
	srv := httptest.NewServer(New(nil, show, Config{}))
	defer srv.Close()
	once := func() time.Duration {
		numbers := source.Values(func(yield func(int) bool) {
			for i := 0; i < messages && yield(i); i++ {
			}
		})
		add := operators.Map(numbers, flow.Pure(func(n int) int { return n + 1 }))
		began := time.Now()
		g := flow.New("numbers", flow.To(add, sink.Discard[int]()), silent)
		if err := g.Run(show.Watch(b.Context())); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	var with, without time.Duration
	once() // warm up
	for b.Loop() {
		without += once()
		res, err := http.Get(srv.URL + "/live?graph=numbers")
		if err != nil {
			b.Fatal(err)
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			lines := bufio.NewReader(res.Body)
			for {
				if _, err := lines.ReadString('\n'); err != nil {
					return
				}
			}
		}()
		with += once()
		_ = res.Body.Close()
		<-read
	}
	b.ReportMetric(100*(float64(with)/float64(without)-1), "slower-%")
}

// BenchmarkReport makes the report of 50 graphs of 30 stages.
func BenchmarkReport(b *testing.B) {
	p := New(nil, large(b, 50, 30), Config{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pack(p.own.collect(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
}

// large returns running graphs with many stages.
func large(t testing.TB, graphs, stages int) *parts.Set {
	t.Helper()
	show := parts.New()
	for i := range graphs {
		s := source.Every(10*time.Millisecond, time.Time.UnixNano)
		for range stages - 2 {
			s = operators.Filter(s, flow.Pure(func(n int64) bool { return n > 0 }))
		}
		name := "graph " + string(rune('a'+i/26)) + string(rune('a'+i%26))
		r, err := flow.New(name, flow.To(s, sink.Discard[int64]()), silent).Start(show.Watch(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Stop() })
	}
	return show
}
