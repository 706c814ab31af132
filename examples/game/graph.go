package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// command is the input of a shard of the world: a tick, or a message of a page.
type command struct {
	tick time.Time // of a tick
	ws.Event[said]
}

// worldGraph is the world: messages of sockets go, in order, to the shard that has the room. Each
// shard has a clock, and its output goes back to the sockets. Late data is worthless in a game, so
// nothing is retried for long: inputs are read at most once, and a failed snapshot is dropped. The
// next snapshot shows the gap, and the page requests a whole one.
func worldGraph(rdb redis.UniversalClient, o options, own *owner, opts ...flow.Part) *flow.Graph {
	in := ws.Inbound(rdb, hub, source.StreamConfig[ws.Event[said]]{AtMostOnce: true})
	fresh := operators.MapMessage(in, since(own.from), flow.Name("fresh"))
	rooms := operators.Partition(fresh, o.shards, func(c command) string { return c.Room })
	shown := make([]flow.Source[ws.Message[whole]], o.shards)
	for i, some := range rooms {
		clock := source.Every(time.Second/ticksPerSecond, func(t time.Time) command { return command{tick: t} },
			flow.Name(fmt.Sprintf("clock %d", i)))
		shown[i] = flow.Via(
			operators.FanIn(some, clock),
			fmt.Sprintf("world %d", i),
			func() flow.Handler[command, ws.Message[whole]] {
				return &shard{arenas: newArenas(o.seed, int(o.round*ticksPerSecond/time.Second))}
			},
		)
	}
	out := ws.Outbound(rdb, hub, sink.StreamConfig[ws.Message[whole]]{MaxLen: 5000})
	parts := []flow.Part{
		flow.To(operators.FanIn(shown...), out),
		own.branch(),
		flow.Faults(flow.Retry(3, 20*time.Millisecond, flow.Drop)),
	}
	return flow.New("world", append(parts, opts...)...)
}

// since converts messages from a time on into commands. Older ones arrived while no world ran, and
// are dropped.
func since(begin time.Time) func(context.Context, flow.Message[ws.Event[said]]) (command, error) {
	return func(_ context.Context, m flow.Message[ws.Event[said]]) (command, error) {
		if m.Time().Before(begin) || m.Value.Room == "" {
			return command{}, flow.Skip
		}
		return command{Event: m.Value}, nil
	}
}

// shard has the arenas of some of the rooms. A new shard, as after a restart, knows no players. Its
// first tick makes all of them join again.
type shard struct {
	arenas *arenas
	known  bool // the players have been told that the shard is new
}

func (s *shard) Handle(_ context.Context, m flow.Message[command], emit flow.Emit[ws.Message[whole]]) error {
	tell := func(t told) { emit(flow.Derive(m, t.message())) }
	c, now := m.Value, time.Now()
	switch {
	case !c.tick.IsZero():
		if !s.known {
			tell(told{to: ws.All, kind: "rejoin"})
			s.known = true
		}
		s.arenas.tick(c.tick, tell)
	case c.Kind == ws.Left:
		s.arenas.away(now, c.Room, c.Session)
	case c.Kind == ws.Said && c.Type == "play":
		s.arenas.play(now, c.Room, c.Session, c.Value.Name, tell)
	case c.Kind == ws.Said && c.Type == "move":
		s.arenas.move(now, c.Room, c.Session, c.Value, tell)
	}
	return nil
}

func (t told) message() ws.Message[whole] {
	return ws.Message[whole]{To: t.to, Type: t.kind, Value: t.picture}
}
