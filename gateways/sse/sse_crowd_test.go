package sse_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/sse"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Ten of a hundred clients never read. They are disconnected, and the others receive all events in
// order.
func TestSSEManyWhoNeverRead(t *testing.T) {
	t.Parallel()
	const readers, sleepers, events = 90, 10, 60
	b := rig.NewBoard(t, sse.Config{WriteTimeout: 8 * time.Second, Queue: 16})
	for range sleepers {
		c := rig.Dial(t, strings.Trim(b.URL, "htp:/"))
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	clients := make([]*rig.SSEClient, readers)
	for i := range clients {
		clients[i] = rig.Subscribe(t, b.URL)
	}
	t.Cleanup(func() { // before the server, which waits for them
		for _, c := range clients {
			c.End()
		}
	})
	redistest.Soon(t, "all are there", func() bool { return b.Stats().Clients == readers+sleepers })
	b.Live(t)
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for i := range events {
				if m, ok := c.Next(); !ok || !strings.HasPrefix(m.Data, strconv.Itoa(i)+" ") {
					t.Errorf("event %d: %.20q of type %q, %v", i, m.Data, m.Type, ok)
					return
				}
			}
		})
	}
	text := strings.Repeat("x", 8<<10)
	for i := range events {
		b.Add(t, "n", "", strconv.Itoa(i)+" "+text)
	}
	wg.Wait()
	redistest.Soon(t, "those who never read are cut off", func() bool { return b.Stats().Clients == readers })
	if s := b.Stats(); s.Broken != sleepers {
		t.Errorf("%+v", s)
	}
}
