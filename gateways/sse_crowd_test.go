package gateways_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A hundred clients of whom ten never read: those are cut off, the others get everything, in order.
func TestSSEManyWhoNeverRead(t *testing.T) {
	t.Parallel()
	const readers, sleepers, events = 90, 10, 60
	b := newBoard(t, gateways.SSEConfig{WriteTimeout: 8 * time.Second, Queue: 16})
	for range sleepers {
		c := dial(t, strings.Trim(b.url, "htp:/"))
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	clients := make([]*sse, readers)
	for i := range clients {
		clients[i] = subscribe(t, b.url)
	}
	t.Cleanup(func() { // before the server, which waits for them
		for _, c := range clients {
			c.end()
		}
	})
	redistest.Soon(t, "all are there", func() bool { return b.Stats().Clients == readers+sleepers })
	b.live(t)
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for i := range events {
				if m, ok := c.next(); !ok || !strings.HasPrefix(m.Data, strconv.Itoa(i)+" ") {
					t.Errorf("event %d: %.20q of type %q, %v", i, m.Data, m.Type, ok)
					return
				}
			}
		})
	}
	text := strings.Repeat("x", 8<<10)
	for i := range events {
		b.add(t, "n", "", strconv.Itoa(i)+" "+text)
	}
	wg.Wait()
	redistest.Soon(t, "those who never read are cut off", func() bool { return b.Stats().Clients == readers })
	if s := b.Stats(); s.Broken != sleepers {
		t.Errorf("%+v", s)
	}
}
