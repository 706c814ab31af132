package eventstore

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestSnapshots(t *testing.T) {
	ctx, rdb := rig.Ctx(t), redistest.Shared(t).Client(t)
	s := newStore(t, rdb)
	v1 := newAccounts(t, s, SnapshotConfig[account]{Name: "account", Version: 1, Every: 10})
	for range 25 {
		must(s.Append(ctx, "ann", Any, deposited{1}))(t)
	}
	early := must(v1.load(ctx, "ann", ""))(t)
	l := must(v1.Load(ctx, "ann"))(t)
	if l.State != (account{Balance: 25, Seen: 25}) || l.folded != 25 || l.Events != 25 {
		t.Errorf("the first: %+v", l)
	}
	must(s.Append(ctx, "ann", l.Last, deposited{1}))(t)
	if l = must(v1.Load(ctx, "ann"))(t); l.State.Balance != 26 || l.folded != 1 || l.Events != 26 {
		t.Errorf("from the snapshot: %+v", l)
	}
	if ok := must(v1.Save(ctx, "ann", l))(t); !ok {
		t.Error("a newer one was not saved")
	}
	if ok := must(v1.Save(ctx, "ann", early))(t); ok {
		t.Error("an older one replaced a newer one")
	}
	if l = must(v1.Load(ctx, "ann"))(t); l.State.Balance != 26 || l.folded != 0 {
		t.Errorf("without newer events: %+v", l)
	}
	v2 := newAccounts(t, s, SnapshotConfig[account]{Name: "account", Version: 2, Every: 10})
	if l = must(v2.Load(ctx, "ann"))(t); l.State.Balance != 26 || l.folded != 26 {
		t.Errorf("with another version: %+v", l)
	}
	if ttl := rdb.PTTL(ctx, v2.snapshotKey("ann")).Val(); ttl < 29*24*time.Hour {
		t.Errorf("a snapshot is kept for %v", ttl)
	}
	// A snapshot that cannot be decoded, or of a store that was replaced, is not used.
	var failed []error
	v1.cfg.Snapshot.OnError = func(_ string, err error) { failed = append(failed, err) }
	rdb.HSet(ctx, v1.snapshotKey("ann"), "data", "{")
	if l = must(v1.Load(ctx, "ann"))(t); l.State.Balance != 26 || len(failed) != 1 {
		t.Errorf("with a broken snapshot: %+v, %v", l, failed)
	}
	rdb.HSet(ctx, v1.snapshotKey("ann"), "data", "{}", "n", "1")
	if l = must(v1.Load(ctx, "ann"))(t); l.State.Balance != 26 {
		t.Errorf("with a snapshot of another event: %+v", l)
	}
	if ok, err := v1.Save(ctx, "ann", Loaded[account]{Last: redisio.ID{Ms: 1}, Events: 3}); ok || err != nil {
		t.Errorf("an invented event: %v, %v", ok, err)
	}
	v1.cfg.Snapshot.MaxBytes = 5
	if _, err := v1.Save(ctx, "ann", l); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large one: %v", err)
	}
	none := newAccounts(t, s, SnapshotConfig[account]{})
	if _, err := none.Save(ctx, "ann", l); err == nil {
		t.Error("saved without a name")
	}
}

// Snapshots are saved by many at once while events are appended. Every load is right.
func TestSnapshotsRace(t *testing.T) {
	ctx := rig.Ctx(t)
	s := newStore(t, redistest.Shared(t).Client(t))
	accounts := newAccounts(t, s, SnapshotConfig[account]{Name: "account", Every: 1})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				l, err := accounts.Update(ctx, "ann", func(Loaded[account]) ([]happening, error) {
					return []happening{deposited{2}}, nil
				})
				if err != nil || l.State.Balance != 2*l.Events || l.State.Seen != l.Events {
					t.Errorf("%+v, %v", l, err)
				}
				if l, err = accounts.Load(ctx, "ann"); err != nil || l.State.Balance != 2*l.Events {
					t.Errorf("%+v, %v", l, err)
				}
			}
		})
	}
	all.Wait()
	if l := must(accounts.Load(ctx, "ann"))(t); l.Events != 200 || l.folded > 1 {
		t.Errorf("%+v", l)
	}
}

func TestUpdate(t *testing.T) {
	ctx, s := rig.Ctx(t), newStore(t, redistest.Shared(t).Client(t))
	accounts := newAccounts(t, s, SnapshotConfig[account]{})
	deposit := func(Loaded[account]) ([]happening, error) { return []happening{deposited{5}}, nil }
	for range 2 { // a request is repeated
		if l := must(accounts.UpdateOnce(ctx, "ann", "request-1", deposit))(t); l.State.Balance != 5 || l.Events != 1 {
			t.Errorf("%+v", l)
		}
	}
	nothing := func(Loaded[account]) ([]happening, error) { return nil, nil }
	if l, err := accounts.Update(ctx, "ann", nothing); err != nil || l.Events != 1 {
		t.Errorf("without events: %+v, %v", l, err)
	}
	boom := errors.New("boom")
	if _, err := accounts.Update(ctx, "ann", func(Loaded[account]) ([]happening, error) {
		return []happening{deposited{1}}, boom
	}); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	accounts.cfg.Tries = 3
	tries := 0
	if _, err := accounts.Update(ctx, "ann", func(Loaded[account]) ([]happening, error) {
		tries++
		_, err := s.Append(ctx, "ann", Any, deposited{1})
		return []happening{deposited{1}}, err
	}); !errors.Is(err, ErrConflict) || tries != 3 {
		t.Errorf("always too late: %v after %d tries", err, tries)
	}
}

// Update applies the events that a later Load reads.
func TestUpdateEqualsLoad(t *testing.T) {
	ctx, s := rig.Ctx(t), newStore(t, redistest.Shared(t).Client(t))
	seen := must(NewAggregates(s, AggregatesConfig[string, happening]{
		Apply: func(all string, e Event[happening]) string { return all + fmt.Sprintf("%+v\n", e) }}))(t)
	updated := must(seen.Update(ctx, "ann", func(Loaded[string]) ([]happening, error) {
		return []happening{opened{"Ann"}, deposited{1}, measured{0.1}}, nil
	}))(t)
	loaded := must(seen.Load(ctx, "ann"))(t)
	if updated.State != loaded.State || updated.Last != loaded.Last || updated.Events != loaded.Events {
		t.Errorf("Update\n%+v\nLoad\n%+v", updated, loaded)
	}
}

// An aggregate of many pages is read whole, and with a deleted event not at all.
func TestLongAggregate(t *testing.T) {
	ctx := rig.Ctx(t)
	s := newStore(t, redistest.Shared(t).Client(t), func(c *Config[happening]) { c.MaxEvents = 1000 })
	text := strings.Repeat("x", 10_000)
	for range 3 {
		var events []happening
		for i := range 300 {
			events = append(events, deposited{1})
			if i%10 == 0 {
				events = append(events, opened{text})
			}
		}
		must(s.Append(ctx, "ann", Any, events...))(t)
	}
	l := must(newAccounts(t, s, SnapshotConfig[account]{}).Load(ctx, "ann"))(t)
	if l.State.Balance != 900 || l.Events != 990 || l.State.Seen != 990 {
		t.Errorf("balance %d after %d events, %d seen", l.State.Balance, l.Events, l.State.Seen)
	}
	ids := must(s.rdb.LRange(ctx, s.index("ann"), 0, -1).Result())(t)
	s.rdb.XDel(ctx, s.Log(0), ids[700])
	var missing *MissingError
	if _, err := newAccounts(t, s, SnapshotConfig[account]{}).Load(ctx, "ann"); !errors.As(err, &missing) ||
		missing.ID != ids[700] {
		t.Errorf("with a deleted event: %v", err)
	}
}

func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	t.Parallel()
	ctx := rig.Ctx(t)
	rdb := redistest.StartCluster(t, 0).Client(t)
	s := newStore(t, rdb, func(c *Config[happening]) { c.Partitions = 16 })
	if err := s.Open(ctx); err != nil {
		t.Fatal(err)
	}
	accounts := newAccounts(t, s, SnapshotConfig[account]{Name: "account", Every: 1})
	for i := range 64 {
		name := fmt.Sprint("account-", i)
		last := must(s.Append(ctx, name, None, opened{name}))(t)
		must(s.Append(ctx, name, last, deposited{i}))(t)
		for range 2 {
			if l := must(accounts.Load(ctx, name))(t); l.State.Balance != i || l.State.Owner != name {
				t.Errorf("%s: %+v", name, l)
			}
		}
	}
}

// The in-process server of first runs does the same.
func TestEmbedded(t *testing.T) {
	srv, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	ctx := rig.Ctx(t)
	rdb := srv.Client()
	defer rdb.Close()
	s := newStore(t, rdb)
	accounts := newAccounts(t, s, SnapshotConfig[account]{Name: "account", Every: 2})
	first := must(s.Append(ctx, "ann", None, opened{"Ann"}, deposited{2}))(t)
	var conflict *Conflict[happening]
	if _, err := s.Append(ctx, "ann", None, opened{"Ann"}); !errors.As(err, &conflict) || len(conflict.Between) != 2 {
		t.Errorf("%v", err)
	}
	must(s.Append(ctx, "ann", first, withdrawn{1}))(t)
	for range 2 {
		if l := must(accounts.Load(ctx, "ann"))(t); l.State.Balance != 1 || l.Events != 3 {
			t.Errorf("%+v", l)
		}
	}
}

// The least rights suffice.
func TestAccess(t *testing.T) {
	ctx, srv := rig.Ctx(t), redistest.Shared(t)
	cfg := Config[happening]{Name: redistest.Key(t), Format: kinds()}
	s := must(New(srv.User(t, redistest.Key(t), cfg.Access().Rules()...), cfg))(t)
	if err := s.Open(ctx); err != nil {
		t.Fatal(err)
	}
	accounts := newAccounts(t, s, SnapshotConfig[account]{Name: "account", Every: 1})
	for range 2 {
		must(accounts.Update(ctx, "ann", func(Loaded[account]) ([]happening, error) {
			return []happening{deposited{1}}, nil
		}))(t)
	}
	if _, err := s.Append(ctx, "ann", redisio.ID{Ms: 1}, opened{}); !errors.Is(err, ErrConflict) {
		t.Errorf("%v", err)
	}
}
