package tracing_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/baggage"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/tracing"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

var quiet = flow.Log(slog.New(slog.DiscardHandler))

// patient configures clients whose calls are not late on a busy machine.
var patient = gateways.ClientConfig{Timeout: redistest.Patience}

type order struct {
	Item string `json:"item"`
}

// One request goes through the gateway, a graph, a service and a second graph, and back.
func TestRequest(t *testing.T) {
	s := newStand(t, sdk.AlwaysSample(), tracing.Stages("price"))
	rdb, key := rig.Redis(t, redistest.Shared(t)), redistest.Key(t)
	orders, stock, billing := key+"orders", key+"stock", key+"billing"
	tenant := ""
	svc := gateways.NewService(rdb, stock, gateways.ServiceConfig{})
	gateways.Handle(svc, "look", func(ctx context.Context, o order) (order, error) {
		tenant = baggage.FromContext(ctx).Member("tenant").Value()
		_, span := s.tp.Tracer("test").Start(ctx, "select")
		span.End()
		return o, nil
	})
	front := gateways.NewClient(rdb, orders, patient)
	behind := gateways.NewClient(rdb, stock, patient)
	priced := operators.Map(gateways.Requests(rdb, orders, source.StreamConfig[order]{}),
		gateways.Call[order, order](behind, "look"), flow.Name("price"), flow.Workers(2))
	bills := source.Stream(rdb, source.StreamConfig[order]{Key: billing, Group: "g"})
	replies := gateways.Reply(bills, rdb, orders, gateways.ReplyConfig{}, flow.Name("replies"))
	ends := []func(){
		s.start(t, svc.Graph()),
		s.start(t, flow.New("orders", flow.To(priced, sink.Stream(rdb, sink.StreamConfig[order]{Key: billing})))),
		s.start(t, flow.New("billing", replies)),
	}
	mux := http.NewServeMux()
	mux.Handle("POST /orders/{id}", web.HTTP(front, "place", web.RawBody()))
	r := httptest.NewRequestWithContext(s.ctx, http.MethodPost, "/orders/7", strings.NewReader(`{"item":"tea"}`))
	r.Header.Set("Traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	r.Header.Set("Tracestate", "vendor=1")
	r.Header.Set("Baggage", "tenant=t1")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Body.String() != `{"item":"tea"}` {
		t.Errorf("answer: %d %s", w.Code, w.Body)
	}
	for _, end := range ends {
		end()
	}
	_ = errors.Join(front.Close(t.Context()), behind.Close(t.Context()))
	s.want(t, strings.NewReplacer("ORDERS", orders, "STOCK", stock, "BILLING", billing).Replace(`
POST /orders/{id} (server)
  call ORDERS (producer)
    process ORDERS (consumer)
      price (internal)
        call STOCK (producer)
          process STOCK (consumer)
            select (internal)
            send replies (producer)
      send BILLING (producer)
        process BILLING (consumer)
          send replies (producer)`))
	top := s.span(t, "POST /orders/{id}")
	for _, span := range s.spans.GetSpans() {
		c := span.SpanContext
		if c.TraceID() != top.SpanContext.TraceID() || c.TraceState().Get("vendor") != "1" {
			t.Errorf("%s is not of the caller's trace: %v", span.Name, c)
		}
	}
	if id := top.Parent.SpanID().String(); id != "0123456789abcdef" || tenant != "t1" {
		t.Errorf("parent %s, tenant %q", id, tenant)
	}
	for key, want := range map[string]string{
		"messaging.system": "redis", "messaging.operation.type": "process", "messaging.operation.name": "process",
		"messaging.destination.name": stock, "messaging.consumer.group.name": "service",
		"streamerson.message.type": "look", "streamerson.outcome": "acked", "streamerson.stage": "requests",
	} {
		if got := attr(s.span(t, "process "+stock).Attributes, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	got := attr(top.Attributes, "http.response.status_code") + attr(top.Attributes, "http.route")
	if got != "200/orders/{id}" {
		t.Error(got)
	}
}

// Entries that no caller waits for begin traces with links. Faults are their events.
func TestFaults(t *testing.T) {
	s := newStand(t, sdk.AlwaysSample())
	rdb, key := rig.Redis(t, redistest.Shared(t)), redistest.Key(t)
	ctx, span := s.tp.Tracer("test").Start(s.ctx, "main")
	p := events.NewPublisher(rdb, key, events.PublisherConfig{})
	for _, v := range []string{"retried", "again", "bad"} {
		if err := events.Publish[string](p, "said")(ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	span.End()
	tries, handled := map[string]int{}, make(chan struct{}, 10)
	handle := func(_ context.Context, v string) error {
		defer func() { handled <- struct{}{} }()
		tries[v]++
		switch {
		case v == "retried" && tries[v] == 1:
			return errors.New("busy")
		case v == "again" && tries[v] == 1:
			return flow.RetryAfter(0, errors.New("later"))
		case v == "bad":
			return flow.Reject(errors.New("invalid"))
		}
		return nil
	}
	in := events.Subscribe[string](rdb, key, "", events.SubscribeConfig{Group: "g"})
	policy := flow.Faults(flow.RetryEvery(1, time.Millisecond, flow.DeadLetter))
	end := s.start(t, flow.New("g", flow.To(in, sink.Func(handle)), policy, quiet))
	for range 5 {
		<-handled
	}
	end()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	s.want(t, strings.ReplaceAll(`
main (internal)
  send KEY (producer)
  send KEY (producer)
  send KEY (producer)
process KEY (consumer) -> send KEY
process KEY (consumer) [retry: busy] -> send KEY
process KEY (consumer) dead error rejected: invalid [dead letter: rejected: invalid] -> send KEY
process KEY (consumer) nacked error retry after 0s: later [nack: retry after 0s: later] -> send KEY`,
		"KEY", events.Key(key)))
}

// A service's error is that of the request's span, and of the caller's.
func TestServiceError(t *testing.T) {
	s := newStand(t, sdk.AlwaysSample())
	rdb, key := rig.Redis(t, redistest.Shared(t)), redistest.Key(t)
	svc := gateways.NewService(rdb, key, gateways.ServiceConfig{})
	gateways.HandleVoid(svc, "fail", func(context.Context, string) error {
		return gateways.Errorf(gateways.CodeConflict, "taken")
	})
	end := s.start(t, svc.Graph())
	client := gateways.NewClient(rdb, key, patient)
	_, err := gateways.Call[string, []byte](client, "fail")(s.ctx, "x")
	end()
	if err == nil || client.Close(t.Context()) != nil {
		t.Error(err)
	}
	for _, name := range []string{"call " + key, "process " + key} {
		if span := s.span(t, name); attr(span.Attributes, "error.type") != "conflict" {
			t.Errorf("%s: %v", name, span.Attributes)
		}
	}
}

func TestBatch(t *testing.T) {
	s := newStand(t, sdk.AlwaysSample(), tracing.Stages("func"))
	batches := operators.Batch(source.Of(1, 2, 3, 4), 2, time.Minute)
	g := flow.New("g", flow.To(batches, sink.Func(func(ctx context.Context, v []int) error {
		if v[0] == 3 {
			return flow.Skip
		}
		return nil
	})))
	if err := g.Run(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.want(t, `
batch batch (internal) -> process g -> process g
  func (internal)
batch batch (internal) dropped -> process g -> process g
  func (internal) dropped
process g (internal)
process g (internal)
process g (internal) dropped
process g (internal) dropped`)
}

func TestOneTrace(t *testing.T) {
	for _, one := range []bool{false, true} {
		var opts []tracing.Option
		if one {
			opts = append(opts, tracing.OneTrace())
		}
		s := newStand(t, sdk.AlwaysSample(), opts...)
		rdb, key := rig.Redis(t, redistest.Shared(t)), redistest.Key(t)
		to := sink.Stream(rdb, sink.StreamConfig[int]{Key: key})
		if err := flow.New("first", flow.To(source.Of(1), to)).Run(s.ctx); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		in := source.Stream(rdb, source.StreamConfig[int]{Key: key, Group: "g"})
		end := s.start(t, flow.New("second", flow.To(in, sink.Func(func(context.Context, int) error {
			close(done)
			return nil
		}))))
		<-done
		end()
		want := "process first (internal)\n  send KEY (producer)\nprocess KEY (consumer) -> send KEY"
		if one {
			want = "process first (internal)\n  send KEY (producer)\n    process KEY (consumer)"
		}
		lines := strings.Split(strings.ReplaceAll(want, "KEY", key), "\n")
		if got := s.draw(); len(strings.Split(got, "\n")) != 3 || !strings.Contains(got, lines[2]) {
			t.Errorf("one %v:\n%s", one, got)
		}
	}
}

// A trace that is not sampled records nothing, and is passed on as such.
func TestNotSampled(t *testing.T) {
	s := newStand(t, sdk.NeverSample())
	rdb, key := rig.Redis(t, redistest.Shared(t)), redistest.Key(t)
	client := gateways.NewClient(rdb, key, patient)
	got := make(chan trace.SpanContext, 1)
	svc := gateways.NewService(rdb, key, gateways.ServiceConfig{})
	gateways.HandleVoid(svc, "x", func(ctx context.Context, _ string) error {
		got <- trace.SpanContextFromContext(ctx)
		return nil
	})
	end := s.start(t, svc.Graph())
	_, err := gateways.Call[string, []byte](client, "x")(s.ctx, "x")
	end()
	if err = errors.Join(err, client.Close(t.Context())); err != nil {
		t.Error(err)
	}
	if c := <-got; !c.IsValid() || c.IsSampled() || len(s.spans.GetSpans()) > 0 {
		t.Errorf("context %v, spans:\n%s", c, s.draw())
	}
}

// Hostile values in entries count as missing.
func TestHostileTraces(t *testing.T) {
	s := newStand(t, sdk.AlwaysSample())
	rdb, key := rig.Redis(t, redistest.Shared(t)), redistest.Key(t)
	fields := []map[string]any{
		{"traceparent": "00-1", "tracestate": "x", "baggage": strings.Repeat("a=b,", 5000)},
		{"traceparent": strings.Repeat("0", 1<<20)},
		{"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "baggage": "\x00=\xff",
			"tracestate": strings.Repeat("a=b,", 1000), "type": strings.Repeat("é", 1000)},
	}
	for _, f := range fields {
		f["data"] = "1"
		if err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: f}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(chan int, 3)
	in := source.Stream(rdb, source.StreamConfig[int]{Key: key, Group: "g"})
	end := s.start(t, flow.New("g", flow.To(in, sink.Func(func(ctx context.Context, v int) error {
		seen <- baggage.FromContext(ctx).Len()
		return nil
	}))))
	for range fields {
		if n := <-seen; n != 0 {
			t.Errorf("%d members of baggage", n)
		}
	}
	end()
	linked := 0
	for _, span := range s.spans.GetSpans() {
		linked += len(span.Links)
		typ := attr(span.Attributes, "streamerson.message.type")
		if !strings.HasPrefix(strings.Repeat("é", 128), typ) {
			t.Errorf("type %q", typ)
		}
		for _, l := range span.Links {
			if l.SpanContext.TraceState().Len() > 0 {
				t.Error("the long tracestate was read")
			}
		}
	}
	if linked != 1 {
		t.Errorf("%d links:\n%s", linked, s.draw())
	}
}

// A program that does not import this package links nothing of OpenTelemetry.
func TestOthersDoNotLinkOpenTelemetry(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../../examples/hello",
		"../../examples/wordcount", "..", "../parts", "../scale", "../ws", "../sse", "../app", "../inspect",
		"../metrics").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "streamerson-go/flow\n") {
		t.Fatalf("go list -deps says:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "opentelemetry") {
			t.Errorf("a program without tracing links %s", line)
		}
	}
}
