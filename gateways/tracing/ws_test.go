package tracing_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// A call and a message of a browser continue its trace.
func TestWebSocket(t *testing.T) {
	s := newStand(t, sdk.AlwaysSample())
	rdb, key := rig.Redis(t, redistest.Shared(t)), redistest.Key(t)
	svc := gateways.NewService(rdb, key, gateways.ServiceConfig{})
	gateways.Handle(svc, "price", func(context.Context, int) (int, error) { return 3, nil })
	client := gateways.NewClient(rdb, key, patient)
	hub := ws.NewHub(rdb, key+"hub", ws.HubConfig{Calls: client, CallTypes: []string{"price"}})
	said := make(chan string, 1)
	in := ws.Inbound(rdb, key+"hub", source.StreamConfig[ws.Event[string]]{})
	to := sink.Func(func(_ context.Context, e ws.Event[string]) error { said <- e.Value; return nil })
	ends := []func(){
		s.start(t, svc.Graph()), s.start(t, flow.New("workers", flow.To(in, to))), s.start(t, hub.Graph()),
	}
	server := httptest.NewUnstartedServer(hub)
	server.Config.BaseContext = func(net.Listener) context.Context { return s.ctx }
	server.Start()
	conn, _, err := websocket.Dial(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	const parent = `"traceparent":"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"`
	ask := func(frame, want string) {
		t.Helper()
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
			t.Fatal(err)
		}
		_, got, err := conn.Read(t.Context())
		var answer struct{ Kind, Code string }
		if err != nil || json.Unmarshal(got, &answer) != nil || answer.Kind+answer.Code != want {
			t.Errorf("answer to %.60s: %s %v", frame, got, err)
		}
	}
	ask(`{"kind":"hello"}`, "hello")
	ask(`{"kind":"call","id":"1","type":"price","data":1,`+parent+`}`, "reply")
	ask(`{"kind":"send","id":"2","type":"say","data":"hi",`+parent+`}`, "ack")
	ask(`{"kind":"send","id":"3","type":"say","baggage":"`+strings.Repeat("a", 9000)+`"}`, "errorbad_frame")
	<-said
	_ = conn.Close(websocket.StatusNormalClosure, "")
	for i := range ends {
		ends[len(ends)-1-i]()
	}
	server.Close()
	if err := client.Close(t.Context()); err != nil {
		t.Error(err)
	}
	in1 := s.span(t, "websocket "+key+"hub")
	if id := in1.Parent.SpanID().String(); id != "0123456789abcdef" {
		t.Errorf("the call's parent is %s", id)
	}
	s.want(t, strings.ReplaceAll(strings.ReplaceAll(`
process INBOX (consumer) -> send INBOX
send INBOX (producer)
websocket KEYhub (server)
  call KEY (producer)
    process KEY (consumer)
      send replies (producer)`, "KEY", key), "INBOX", inboxOf(s, t)))
}

// inboxOf returns the key of the stream of the workers.
func inboxOf(s *stand, t *testing.T) string {
	for _, span := range s.spans.GetSpans() {
		if span.Name[:5] == "send " && span.Name != "send replies" {
			return span.Name[5:]
		}
	}
	t.Error("no message was sent")
	return ""
}
