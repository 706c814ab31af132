package ws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Clients hop between two processes while messages arrive, and disconnect at random. They receive
// every message of their rooms, once and in order. The test's name contains the seed.
func TestHop(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			s := newStand(t)
			nodes := []*node{
				s.node(t, ws.HubConfig{Tuning: ws.Tuning{Recent: 50}}),
				s.node(t, ws.HubConfig{Queue: 8, Tuning: ws.Tuning{Recent: 50}}),
			}
			const clients, messages = 8, 2000
			cursor := nodes[0].join(t).hi.Cursor // before all messages
			var wg sync.WaitGroup
			var done atomic.Int64
			for i := range clients {
				h := &hopper{
					room:   fmt.Sprint("room-", i%2),
					cursor: cursor,
					rnd:    rand.New(rand.NewPCG(seed, uint64(i))),
				}
				wg.Go(func() {
					for h.next < messages {
						if err := h.visit(nodes[h.rnd.IntN(2)], messages); err != nil {
							t.Errorf("client %d, at %d: %v", i, h.next, err)
							return
						}
					}
					done.Add(1)
				})
			}
			for from := 0; from < messages; from += 100 {
				var batch []ws.Message[said]
				for n := from; n < from+100; n++ {
					batch = append(batch, room("room-0", n), room("room-1", n), room("nobody", n))
				}
				s.tell(t, batch...)
			}
			wg.Wait()
			equal(t, "clients that got everything", int64(clients), done.Load())
		})
	}
}

// hopper is a client that changes its process.
type hopper struct {
	room, cursor, resume string
	next                 int // the number of the next message
	rnd                  *rand.Rand
}

// visit stays connected to a node for some messages.
func (h *hopper) visit(n *node, most int) error {
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, n.url(), nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	hello, _ := json.Marshal(
		map[string]any{"kind": "hello", "rooms": []string{h.room}, "cursor": h.cursor, "resume": h.resume},
	)
	if err := conn.Write(ctx, websocket.MessageText, hello); err != nil {
		return err
	}
	for left := h.rnd.IntN(300); left > 0 && h.next < most; {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		var f frame
		if err := json.Unmarshal(b, &f); err != nil {
			return err
		}
		switch f.Kind {
		case "hello":
			h.resume = f.Resume
		case "msg":
			if f.n() != h.next {
				return fmt.Errorf("message %d came, want %d", f.n(), h.next)
			}
			h.next++
			h.cursor = f.Cursor
			left--
		case "cursor":
			h.cursor = f.Cursor
		default:
			return fmt.Errorf("unexpected: %v", f)
		}
	}
	return nil
}
