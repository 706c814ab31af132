package metrics_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/metrics"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func ExampleNew() {
	show, registry := parts.New(), prometheus.NewRegistry() // or prometheus.DefaultRegisterer
	registry.MustRegister(metrics.New(show))

	ctx := show.Watch(context.Background())
	orders := flow.New("orders", flow.To(source.Of(1, 2, 3), sink.Discard[int]()))
	if err := orders.Run(ctx); err != nil {
		fmt.Println(err)
	}

	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "streamerson_source_settled_entries_total") {
			fmt.Print(line)
		}
	}
	// Output:
	// streamerson_source_settled_entries_total{graph="orders",outcome="acked",stage="of"} 3
	// streamerson_source_settled_entries_total{graph="orders",outcome="dead",stage="of"} 0
	// streamerson_source_settled_entries_total{graph="orders",outcome="dropped",stage="of"} 0
	// streamerson_source_settled_entries_total{graph="orders",outcome="nacked",stage="of"} 0
}

func ExampleWithin() {
	show := parts.New()
	prometheus.NewRegistry().MustRegister(metrics.New(show, metrics.Within(0))) // never asks Redis for lag
}
