package ws_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/ws"
)

// hang is a hook of a client. Its reads from hangAt do not return before released is closed, whatever
// their context says: as in go-redis when a server does not answer.
type hang struct {
	begun    chan struct{} // holds a token after the first read has begun
	released chan struct{}
	reads    atomic.Int64 // that wait
	together atomic.Bool  // two waited at a time
}

// hangAt is the cursor of the client in the test, and of no other reader.
const hangAt = "2"

func newHang(s *stand) (h *hang, release func()) {
	h = &hang{begun: make(chan struct{}, 1), released: make(chan struct{})}
	s.rdb.AddHook(h)
	release = sync.OnceFunc(func() { close(h.released) })
	return h, release
}

func (h *hang) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *hang) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); cmd.Name() == "xrange" && fmt.Sprint(args[2]) == hangAt+"-0" && ctx.Err() == nil {
			if h.reads.Add(1) > 1 {
				h.together.Store(true)
			}
			select {
			case h.begun <- struct{}{}:
			default:
			}
			<-h.released
			h.reads.Add(-1)
		}
		return next(ctx, cmd)
	}
}

func (h *hang) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// While Redis does not answer a read of history, the client receives all other frames. The read goes
// on meanwhile, and no second one begins.
func TestFramesWhileHistoryHangs(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	h, release := newHang(s)
	n := s.node(t, ws.HubConfig{Tuning: ws.Tuning{Recent: -1}})
	defer release()
	s.tell(t, room("lobby", 0), room("lobby", 1))
	c := n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": hangAt})
	<-h.begun
	for range 3 {
		c.send(map[string]any{"kind": "ping"})
		if f := c.any(); f.Kind != "pong" {
			t.Fatalf("%v while history cannot be read", f)
		}
	}
	if h.reads.Load() != 1 || h.together.Load() {
		t.Errorf("%d reads wait, or did", h.reads.Load())
	}
	release()
	equal(t, "once it is read", count(2), c.numbers(2))
}

// A socket whose history cannot be read is closed with a reason.
func TestCloseWhileHistoryHangs(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	h, release := newHang(s)
	n := s.node(t, ws.HubConfig{Tuning: ws.Tuning{Recent: -1}})
	defer release()
	s.tell(t, room("lobby", 0))
	c := n.hello(t, nil, map[string]any{"rooms": []string{"lobby"}, "cursor": hangAt})
	<-h.begun
	if err := ws.Disconnect(t.Context(), s.rdb, s.name, ws.All, "enough"); err != nil {
		t.Fatal(err)
	}
	c.closed(websocket.StatusPolicyViolation)
}
