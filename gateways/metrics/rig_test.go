package metrics_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/gateways/metrics"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// exposed is what a set exposes to Prometheus.
type exposed struct {
	set *parts.Set
	http.Handler
}

// expose waits long for Redis, so that no number is missing on a busy machine.
func expose(t testing.TB) *exposed {
	t.Helper()
	return exposeSet(parts.New(), metrics.Within(redistest.Patience))
}

func exposeSet(set *parts.Set, opts ...metrics.Option) *exposed {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(metrics.New(set, opts...))
	return &exposed{set, promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})}
}

// text is a scrape as Prometheus receives it.
func (e *exposed) text(t testing.TB) string {
	t.Helper()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// numbers are the values of a scrape, by the text in front of them.
func (e *exposed) numbers(t testing.TB) map[string]float64 { return parse(t, e.text(t)) }

func parse(t testing.TB, text string) map[string]float64 {
	t.Helper()
	all := make(map[string]float64)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all[line[:at]] = v
	}
	return all
}

// has fails the test unless the values are as wanted. TOPIC is the topic of the stand.
func has(t testing.TB, got map[string]float64, want string, topic ...string) {
	t.Helper()
	for name, v := range parse(t, strings.ReplaceAll(want, "TOPIC", strings.Join(topic, ""))) {
		if g, ok := got[name]; !ok || g != v {
			t.Errorf("%s is %v (present: %t), want %v", name, g, ok, v)
		}
	}
}

// program runs one of each part, and makes some calls.
func program(t testing.TB, e *exposed) *rig.Stand {
	t.Helper()
	s := rig.NewStand(t)
	svc := gateways.NewService(s.RDB, s.Topic, gateways.ServiceConfig{})
	gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
	client := s.Client(t, gateways.ClientConfig{})
	hub := ws.NewHub(s.RDB, s.Topic, ws.HubConfig{})
	events := sse.New(s.RDB, sse.Config{Key: s.Topic + ":news"})
	t.Cleanup(func() { _ = events.Close(context.Background()) })
	route := web.HTTP(client, "echo")
	queue := jobs.New[string, int](s.RDB, s.Topic, jobs.Config{})
	t.Cleanup(func() { _ = queue.Close(context.Background()) })
	if _, _, err := queue.Submit(t.Context(), "x", jobs.In(time.Hour)); err != nil {
		t.Fatal(err)
	}
	e.set.Service(svc).Client(client).Hub(hub).Events(events).Route(route).Queue(queue)
	in := source.Stream(s.RDB, source.StreamConfig[string]{Key: s.Topic + ":in", Group: "g"}, flow.Name("orders"))
	loud := operators.Map(in, flow.Pure(strings.ToUpper), flow.Name("loud"))
	out := sink.Stream(s.RDB, sink.StreamConfig[string]{Key: s.Topic + ":out"}, flow.Name("out"))
	ctx := e.set.Watch(t.Context())
	for _, g := range []*flow.Graph{flow.New("shout", flow.To(loud, out)), svc.Graph(), hub.Graph()} {
		run, err := g.Start(context.WithoutCancel(ctx))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
			defer cancel()
			if _, err := run.Drain(ctx); err != nil {
				t.Errorf("drain: %v", err)
			}
		})
		rig.Ready(t, run)
	}
	for range 3 {
		s.RDB.XAdd(t.Context(), redistest.Entry(s.Topic+":in", "data", "x"))
	}
	redistest.Soon(t, "the graph is done", func() bool {
		groups := s.RDB.XInfoGroups(t.Context(), s.Topic+":in").Val()
		return s.RDB.XLen(t.Context(), s.Topic+":out").Val() == 3 && len(groups) == 1 && groups[0].Pending == 0
	})
	redistest.Soon(t, "all is counted", func() bool { // the counters lag by a chunk
		n := e.numbers(t)
		return n[`streamerson_source_in_flight_entries{graph="shout",stage="orders"}`] == 0 &&
			n[`streamerson_stage_received_messages_total{graph="shout",stage="loud"}`] == 3 &&
			n[`streamerson_edge_messages_total{from="loud",graph="shout",to="out"}`] == 3 &&
			n[`streamerson_source_settled_entries_total{graph="shout",outcome="acked",stage="orders"}`] == 3 &&
			n[`streamerson_stage_emitted_messages_total{graph="shout",stage="out"}`] == 3
	})
	mux := http.NewServeMux()
	mux.Handle("POST /echo", route)
	if got := rig.Ask(mux, rig.Asked(http.MethodPost, "/echo", `"x"`)); got.Status != http.StatusOK {
		t.Fatalf("route: %+v", got)
	}
	if _, err := gateways.Call[string, string](client, "echo")(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	return s
}

// tool returns a command of Debian's package prometheus.
func tool(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: install prometheus (make setup does), this test runs %s of it", err, name)
	}
	return exec.Command(path, args...)
}
