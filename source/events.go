package source

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// events logs and counts the events of a reader, and passes them to the caller's hook.
type events struct {
	logger atomic.Pointer[slog.Logger]
	counts [redisio.EventKinds]atomic.Uint64
}

// kind is a kind of events with its name in flow.StageSnapshot.
type kind struct {
	is   redisio.EventKind
	name string
}

// tailKinds are the kinds of events of a Tail, and groupKinds those of a Stream.
var (
	tailKinds = []kind{
		{redisio.EventReconnecting, "reconnecting"},
		{redisio.EventReconnected, "reconnects"},
		{redisio.EventRefused, "refused"},
		{redisio.EventAskingLess, "asking_less"},
		{redisio.EventStreamRecreated, "streams_recreated"},
	}
	groupKinds = append(tailKinds[:len(tailKinds)-1:len(tailKinds)-1],
		kind{redisio.EventGroupRecreated, "groups_recreated"},
		kind{redisio.EventReclaimed, "reclaimed"},
		kind{redisio.EventRecovered, "recovered"},
		kind{redisio.EventRestored, "restored"},
		kind{redisio.EventTrimmed, "trimmed"},
		kind{redisio.EventLeaseLost, "lost_leases"},
		kind{redisio.EventStaleAcks, "stale_acks"},
		kind{redisio.EventLateAcks, "late_acks"},
		kind{redisio.EventRenewFailed, "renew_failures"},
		kind{redisio.EventMoveFailed, "move_failures"},
		kind{redisio.EventReaped, "reaped_consumers"},
		kind{redisio.EventWithheld, "withheld"},
		kind{redisio.EventDeadDropped, "dead_dropped"},
	)
)

// count adds an event. Events about entries count these.
func (e *events) count(ev *redisio.Event) {
	n := uint64(max(ev.Count, 1))
	switch ev.Kind {
	case redisio.EventReconnecting, redisio.EventReconnected, redisio.EventRefused, redisio.EventAskingLess,
		redisio.EventStreamRecreated, redisio.EventGroupRecreated, redisio.EventRenewFailed, redisio.EventMoveFailed:
		n = 1
	}
	e.counts[ev.Kind].Add(n)
}

// report reports the counts of some kinds, see flow.Counter.
func (e *events) report(kinds []kind, add func(name string, n uint64)) {
	for _, k := range kinds {
		add(k.name, e.counts[k.is].Load())
	}
}

// log stores the graph's logger, which the context carries.
func (e *events) log(ctx context.Context) { e.logger.Store(flow.Logger(ctx)) }

// tell returns the hook for a reader.
func (e *events) tell(hook func(redisio.Event)) func(redisio.Event) {
	return func(ev redisio.Event) {
		e.count(&ev)
		if l := e.logger.Load(); l != nil {
			write(l, ev)
		}
		if hook != nil {
			hook(ev)
		}
	}
}

func write(l *slog.Logger, ev redisio.Event) {
	level := slog.LevelWarn
	switch ev.Kind {
	case redisio.EventReconnected, redisio.EventReclaimed, redisio.EventReaped:
		level = slog.LevelInfo
	case redisio.EventRecovered, redisio.EventStaleAcks:
		level = slog.LevelDebug
	}
	attrs := []any{"key", ev.Key}
	if ev.Count > 0 {
		attrs = append(attrs, "entries", ev.Count)
	}
	if ev.Position != "" {
		attrs = append(attrs, "position", ev.Position)
	}
	if ev.StreamGone {
		attrs = append(attrs, "stream_gone", true) // unread entries are lost
	}
	if ev.Err != nil {
		attrs = append(attrs, "error", ev.Err)
	}
	l.Log(context.Background(), level, "stream: "+ev.Kind.String(), attrs...)
}
