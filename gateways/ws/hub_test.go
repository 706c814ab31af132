package ws_test

import (
	"testing"

	"github.com/streamerson/streamerson-go/gateways/ws"
)

// A message to a room reaches all of its sockets, on every process, and no others.
func TestRooms(t *testing.T) {
	s := newStand(t)
	a, b := s.node(t, ws.HubConfig{Authenticate: byHeader}), s.node(t, ws.HubConfig{Authenticate: byHeader})
	s.echo(t)
	ann := a.hello(t, as("ann"), map[string]any{"rooms": []string{"lobby"}})
	bob := b.hello(t, as("bob"), map[string]any{})
	bob.send(map[string]any{"kind": "join", "id": "1", "room": "lobby"})
	equal(t, "joined", "lobby", bob.want("joined").Room)
	eve := a.hello(t, as("eve"), map[string]any{"rooms": []string{"attic"}})

	ann.send(map[string]any{"kind": "send", "id": "7", "room": "lobby", "type": "say", "data": said{N: 1}})
	equal(t, "ack", "7", ann.want("ack").ID)
	for _, c := range []*client{ann, bob} {
		got := c.want("msg")
		equal(t, "message", []string{"lobby", "ann", "say"}, []string{got.Room, got.From, got.Type})
		equal(t, "value", 1, got.n())
	}
	eve.send(map[string]any{"kind": "send", "type": "say", "data": said{N: 2}})
	equal(t, "what eve hears is her own", []int{2}, eve.numbers(1))
}
