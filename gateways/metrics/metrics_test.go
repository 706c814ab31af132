package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/jobs"
	"github.com/streamerson/streamerson-go/gateways/metrics"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func TestMetricsOfAllParts(t *testing.T) {
	e := expose(t)
	s := program(t, e)
	var got map[string]float64
	redistest.Soon(t, "all graphs are ready", func() bool { // Redis may just be slow
		got = e.numbers(t)
		for _, name := range []string{"shout", "service of " + s.Topic, "hub of " + s.Topic} {
			if got[fmt.Sprintf("streamerson_graph_ready{graph=%q}", name)] != 1 {
				return false
			}
		}
		return true
	})
	has(t, got, `
streamerson_graph_state{graph="shout",state="active"} 1
streamerson_graph_state{graph="shout",state="ended"} 0
streamerson_graph_ready{graph="shout"} 1
streamerson_graph_ready{graph="service of TOPIC"} 1
streamerson_graph_ready{graph="hub of TOPIC"} 1
streamerson_graph_starts_total{graph="shout"} 1
streamerson_source_read_entries_total{graph="shout",stage="orders"} 3
streamerson_source_settled_entries_total{graph="shout",outcome="acked",stage="orders"} 3
streamerson_source_settled_entries_total{graph="shout",outcome="dead",stage="orders"} 0
streamerson_source_lag_entries{graph="shout",stage="orders"} 0
streamerson_source_pending_entries{graph="shout",stage="orders"} 0
streamerson_source_in_flight_entries{graph="shout",stage="orders"} 0
streamerson_source_in_flight_limit_entries{graph="shout",stage="orders"} 4096
streamerson_stage_events_total{event="late_acks",graph="shout",stage="orders"} 0
streamerson_stage_events_total{event="write_retries",graph="shout",stage="out"} 0
streamerson_stage_info{graph="shout",kind="sink",stage="out"} 1
streamerson_stage_received_messages_total{graph="shout",stage="loud"} 3
streamerson_stage_emitted_messages_total{graph="shout",stage="out"} 3
streamerson_edge_messages_total{from="loud",graph="shout",to="out"} 3
streamerson_service_requests_total{outcome="answered",topic="TOPIC"} 2
streamerson_service_handler_duration_seconds_count{topic="TOPIC"} 2
streamerson_service_handler_duration_seconds_bucket{topic="TOPIC",le="+Inf"} 2
streamerson_client_calls_total{kind="call",outcome="answered",topic="TOPIC"} 2
streamerson_client_calls_total{kind="call",outcome="overloaded",topic="TOPIC"} 0
streamerson_client_waiting_calls{topic="TOPIC"} 0
streamerson_client_call_duration_seconds_count{kind="call",outcome="answered",topic="TOPIC"} 2
streamerson_client_call_duration_seconds_bucket{kind="call",outcome="answered",topic="TOPIC",le="+Inf"} 2
streamerson_hub_sockets{hub="TOPIC"} 0
streamerson_jobs_scheduled{priority="normal",queue="TOPIC"} 1
streamerson_jobs_waiting{priority="normal",queue="TOPIC"} 0
streamerson_jobs_dead{priority="normal",queue="TOPIC"} 0
streamerson_sse_clients{stream="TOPIC:news"} 0
streamerson_http_requests_total{outcome="answered",pattern="POST /echo",topic="TOPIC",type="echo"} 1`, s.Topic)
	// Nothing of a user's data is a label: no consumer, no mailbox, no request.
	for name := range got {
		if strings.Contains(name, "reply") && !strings.Contains(name, "replies") {
			t.Errorf("%s has an id", name)
		}
	}
}

// The numbers of a queue are those of all its processes, so two handles of it count once.
func TestQueues(t *testing.T) {
	e, s := expose(t), rig.NewStand(t)
	for range 2 {
		q := jobs.New[string, int](s.RDB, s.Topic, jobs.Config{})
		t.Cleanup(func() { _ = q.Close(context.Background()) })
		if _, _, err := q.Submit(t.Context(), "x", jobs.Priority("high")); err != nil {
			t.Fatal(err)
		}
		e.set.Queue(q).Queue(q)
	}
	has(t, e.numbers(t), `
streamerson_jobs_waiting{priority="high",queue="TOPIC"} 2
streamerson_jobs_taken{priority="high",queue="TOPIC"} 0
streamerson_jobs_waiting{priority="low",queue="TOPIC"} 0`, s.Topic)
}

// promtool's rules for names, units and help texts hold.
func TestMetricsFollowConventions(t *testing.T) {
	check := tool(t, "promtool", "check", "metrics")
	e := expose(t)
	program(t, e)
	check.Stdin = strings.NewReader(e.text(t))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// Parts with the same labels are added up.
func TestEqualLabelsAddUp(t *testing.T) {
	e, s := expose(t), rig.NewStand(t)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) {
		gateways.Handle(svc, "echo", func(_ context.Context, v string) (string, error) { return v, nil })
	})
	for range 2 {
		c := s.Client(t, gateways.ClientConfig{})
		e.set.Client(c)
		if _, err := gateways.Call[string, string](c, "echo")(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a service without requests has a histogram of zeros, and its topic need not be text
		e.set.Service(gateways.NewService(s.RDB, "idle\xff", gateways.ServiceConfig{}))
	}
	e.set.Hub(ws.NewHub(s.RDB, "h", ws.HubConfig{})).Hub(ws.NewHub(s.RDB, "h", ws.HubConfig{}))
	has(t, e.numbers(t), `
streamerson_client_calls_total{kind="call",outcome="answered",topic="TOPIC"} 2
streamerson_client_call_duration_seconds_count{kind="call",outcome="answered",topic="TOPIC"} 2
streamerson_service_handler_duration_seconds_count{topic="idle�"} 0
streamerson_service_handler_duration_seconds_sum{topic="idle�"} 0
streamerson_hub_opened_sockets_total{hub="h"} 0`, s.Topic)
}

// Faults are counted by kind. Names that are not text are shown, and merged if they look alike.
func TestFaultsByKind(t *testing.T) {
	e := expose(t)
	for _, name := range []string{"broken\xff", "broken\xfe"} {
		to := sink.Func(func(_ context.Context, n int) error {
			switch n {
			case 1:
				panic("no")
			case 2:
				return fmt.Errorf("ask: %w", context.DeadlineExceeded)
			}
			return errors.New("no")
		}, flow.Name("to"))
		g := flow.New(name, flow.To(source.Of(1, 2, 3, 4), to, flow.OnFault(flow.Drop)), flow.Log(quiet))
		if err := g.Run(e.set.Watch(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	has(t, e.numbers(t), `
streamerson_stage_faults_total{graph="broken�",kind="error",stage="of"} 0
streamerson_stage_faults_total{graph="broken�",kind="error",stage="to"} 4
streamerson_stage_faults_total{graph="broken�",kind="panic",stage="to"} 2
streamerson_stage_faults_total{graph="broken�",kind="timeout",stage="to"} 2`)
}

var quiet = slog.New(slog.DiscardHandler)

// The counters of a graph never go down, however often it is started again between two scrapes.
func TestCountersSurviveRestarts(t *testing.T) {
	e := expose(t)
	ctx := e.set.Watch(t.Context())
	fails := errors.New("no")
	run := func(ctx context.Context, err error) {
		t.Helper()
		to := sink.Func(func(context.Context, int) error { return err }, flow.Name("to"))
		g := flow.New("again", flow.To(source.Of(1, 2), to, flow.OnFault(flow.Drop)), flow.Log(quiet))
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	run(ctx, nil)
	has(t, e.numbers(t), `
streamerson_source_read_entries_total{graph="again",stage="of"} 2`)
	before := e.numbers(t)
	for range 12 {
		run(ctx, fails)
	}
	after := e.numbers(t)
	has(t, after, `
streamerson_source_read_entries_total{graph="again",stage="of"} 26
streamerson_graph_starts_total{graph="again"} 13
streamerson_stage_failed_messages_total{graph="again",outcome="dropped",stage="to"} 24
streamerson_stage_faults_total{graph="again",kind="error",stage="to"} 24
streamerson_source_settled_entries_total{graph="again",outcome="acked",stage="of"} 2
streamerson_source_settled_entries_total{graph="again",outcome="dropped",stage="of"} 24
streamerson_graph_state{graph="again",state="ended"} 1`)
	for name, v := range before {
		if strings.Contains(name, "_total") && after[name] < v {
			t.Errorf("%s went from %v to %v", name, v, after[name])
		}
	}
}

// A supervisor starts a graph again and again, holding its own lock. A scrape meanwhile waits for
// nothing, and another supervisor keeps a graph of the same name.
func TestCountersOfSupervisors(t *testing.T) {
	e := expose(t)
	ctx := e.set.Watch(t.Context())
	one, two := flow.NewSupervisor(ctx), flow.NewSupervisor(ctx)
	e.set.Supervisor(one).Supervisor(two)
	add := func(s *flow.Supervisor) {
		t.Helper()
		r, err := s.Add(flow.New("again", flow.To(source.Of(1, 2), sink.Discard[int]())))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	add(two)
	for range 12 {
		add(one)
	}
	for range 2 {
		has(t, e.numbers(t), `
streamerson_source_read_entries_total{graph="again",stage="of"} 26
streamerson_graph_starts_total{graph="again"} 13`)
	}
}

// A scrape while Redis hangs ends in time. It has all that the process knows, and no lag.
func TestScrapeWhileRedisHangs(t *testing.T) {
	server := redistest.Shared(t)
	proxy := redistest.StartProxy(t, server.Addr())
	rdb, key := proxy.Client(t), redistest.Key(t)
	patient := expose(t)
	e := exposeSet(patient.set, metrics.Within(50*time.Millisecond))
	const sources = 20
	var branches []flow.Part
	for range sources {
		branches = append(branches, flow.To(source.Stream(rdb, source.StreamConfig[string]{Key: key, Group: "g"}),
			sink.Discard[string]()))
	}
	run, err := flow.New("many", branches...).Start(e.set.Watch(context.Background()))
	if err != nil {
		t.Fatal(err)
	}
	rig.Ready(t, run)
	lags := func(e *exposed) int {
		return len(slices.DeleteFunc(slices.Collect(maps.Keys(e.numbers(t))), func(name string) bool {
			return !strings.HasPrefix(name, "streamerson_source_lag_entries")
		}))
	}
	redistest.Soon(t, "all lags are known", func() bool { return lags(patient) == sources })
	proxy.Hang(true)
	began := time.Now()
	unknown := lags(e)
	if took := time.Since(began); unknown != 0 || took > redistest.Patience/4 {
		t.Errorf("%d lags are known while Redis hangs, after %v", unknown, took)
	}
	has(t, e.numbers(t), `
streamerson_graph_state{graph="many",state="active"} 1`)
	proxy.Hang(false)
	redistest.Soon(t, "all lags are known again", func() bool { return lags(patient) == sources })
	if _, err := run.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// A program that does not import this package links nothing of Prometheus.
func TestOthersDoNotLinkPrometheus(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "..", "../parts", "../scale", "../ws", "../sse", "../app", "../inspect",
		"../../redisio/cmd/streams", "../../operators", "../../source", "../../sink")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "streamerson-go/flow\n") {
		t.Fatalf("go list -deps says:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "prometheus") {
			t.Errorf("a program without metrics links %s", line)
		}
	}
}

// waiter holds a graph up until it has ended.
type waiter struct{}

func (waiter) Started(r *flow.Running) { _ = r.Wait() }

// A short graph may have ended before the collector learns of it. It is shown all the same.
func TestCountersOfGraphsThatHaveEnded(t *testing.T) {
	e := expose(t)
	ctx := flow.WithObserver(e.set.Watch(t.Context()), waiter{}) // the inner observer comes first
	for n := 1; n < 9; n++ {                                     // runs between two scrapes
		name := fmt.Sprint("short", n)
		for range n {
			if err := flow.New(name, flow.To(source.Of(1, 2), sink.Discard[int]())).Run(ctx); err != nil {
				t.Fatal(err)
			}
		}
		has(t, e.numbers(t), fmt.Sprintf(`
streamerson_source_read_entries_total{graph=%[1]q,stage="of"} %[2]d
streamerson_graph_starts_total{graph=%[1]q} %[3]d
streamerson_graph_state{graph=%[1]q,state="ended"} 1`, name, 2*n, n))
	}
}
