package ws_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Ten of a hundred sockets are never read. They are disconnected, and the others receive all
// messages in order.
func TestSlowCrowd(t *testing.T) {
	t.Parallel()
	const readers, sleepers, messages = 90, 10, 60
	s := newStand(t)
	n := s.node(t, ws.HubConfig{Tuning: ws.Tuning{WriteTimeout: 8 * time.Second}, Queue: 16})
	n.srv.Close()
	n.srv = served(t, n.hub)
	for range sleepers {
		_, conn, br := n.handshake(t, "")
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		greet(t, conn, br)
	}
	clients := make([]*client, readers)
	for i := range clients {
		clients[i] = n.join(t, "lobby")
	}
	redistest.Soon(t, "all are there", func() bool { return n.hub.Stats().Received == readers+sleepers })
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for i := range messages {
				if f, err := c.next(); err != nil || f.Kind != "msg" || f.n() != i {
					t.Errorf("message %d: %v %d, %v", i, f.Kind, f.n(), err)
					return
				}
			}
		})
	}
	all := make([]ws.Message[said], messages)
	for i := range all {
		all[i] = room("lobby", i)
		all[i].Value.Text = strings.Repeat("x", 8<<10)
	}
	s.tell(t, all...)
	wg.Wait()
	redistest.Soon(t, "those that are never read are cut off", func() bool { return n.hub.Stats().Sockets == readers })
	equal(t, "slow", uint64(sleepers), n.hub.Stats().Slow)
}

// served is a hub behind web.Serve, with the fields of an httptest.Server.
func served(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	l, err := web.Listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, h)
	return &httptest.Server{Listener: l, URL: "http://" + l.Addr().String()}
}

func serveOn(t testing.TB, l net.Listener, h http.Handler) {
	cfg := web.ServerConfig{HeaderTimeout: redistest.Patience, StopTimeout: redistest.Patience}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := web.Serve(ctx, l, h, cfg); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); serving.Wait() })
}
