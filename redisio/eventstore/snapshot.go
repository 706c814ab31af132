package eventstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Save stores a snapshot of a state that Load or Update returned. It reports whether the snapshot
// was stored. It was not if a later one exists, so a slow process never replaces a newer snapshot.
// Load and Update call it by themselves, see SnapshotConfig.Every.
func (a *Aggregates[S, E]) Save(ctx context.Context, aggregate string, l Loaded[S]) (saved bool, err error) {
	return a.save(ctx, aggregate, l, max(a.store.cfg.Patience, 0))
}

// save is Save with a patience. Load gives it no patience, because its caller does not need the
// snapshot.
func (a *Aggregates[S, E]) save(
	ctx context.Context, aggregate string, l Loaded[S], patience time.Duration,
) (saved bool, err error) {
	key := a.snapshotKey(aggregate)
	if key == "" {
		return false, &redisio.ConfigError{Type: "eventstore.AggregatesConfig", Field: "Snapshot.Name",
			Problem: "is empty", Fix: "name the type of state, as in account"}
	}
	if l.Last == None || l.Events == 0 {
		return false, nil
	}
	data, err := a.cfg.Snapshot.Codec.Append(nil, l.State)
	if err != nil {
		return false, fmt.Errorf("eventstore: snapshot of %q: %w", fault.KeyName(aggregate), err)
	}
	if len(data) > a.cfg.Snapshot.MaxBytes {
		return false, &TooLargeError{"Snapshot.MaxBytes", len(data), a.cfg.Snapshot.MaxBytes}
	}
	var n int
	err = fault.WaitFor(ctx, patience, func() (err error) {
		n, err = a.store.rdb.Eval(ctx, script.Snapshot, []string{key, a.store.index(aggregate)},
			l.Last.String(), l.Events, data, a.cfg.Snapshot.Expire.Milliseconds()).Int()
		return err
	})
	if err != nil {
		return false, check.KeyError("save snapshot", key, err)
	}
	return n == 1, nil
}

func (a *Aggregates[S, E]) failed(aggregate string, err error) {
	if f := a.cfg.Snapshot.OnError; f != nil {
		fault.Notify("eventstore.SnapshotConfig.OnError", func() { f(aggregate, err) })
	}
}

// snapshotKey returns the key of the snapshot of an aggregate, or "" without snapshots. It has the
// version, so that programs of two versions do not replace each other's snapshots.
func (a *Aggregates[S, E]) snapshotKey(aggregate string) string {
	if a.cfg.Snapshot.Name == "" {
		return ""
	}
	return a.store.Tag(a.store.Partition(aggregate)) + "snap:" + a.cfg.Snapshot.Name + ":" +
		strconv.Itoa(a.cfg.Snapshot.Version) + ":" + aggregate
}
