package eventstore

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// happening is the events of the tests.
type happening interface{ happens() }

type (
	opened    struct{ Owner string }
	deposited struct{ Amount int }
	withdrawn struct{ Amount int }
	measured  struct{ Value float64 }
)

func (opened) happens()    {}
func (deposited) happens() {}
func (withdrawn) happens() {}
func (measured) happens()  {}

func kinds() redisio.Format[happening] {
	return Kinds(Kind[opened, happening]("opened"), Kind[deposited, happening]("deposited"),
		Kind[withdrawn, happening]("withdrawn"), Kind[measured, happening]("measured"))
}

// account is the state of the tests.
type account struct {
	Owner   string
	Balance int
	Seen    int
}

func applied(a account, e Event[happening]) account {
	a.Seen++
	switch v := e.Value.(type) {
	case opened:
		a.Owner = v.Owner
	case deposited:
		a.Balance += v.Amount
	case withdrawn:
		a.Balance -= v.Amount
	}
	return a
}

func newStore(t testing.TB, rdb redis.UniversalClient, change ...func(*Config[happening])) *Store[happening] {
	t.Helper()
	cfg := Config[happening]{Name: redistest.Key(t), Format: kinds()}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newAccounts(t testing.TB, s *Store[happening], snapshot SnapshotConfig[account]) *Aggregates[account, happening] {
	t.Helper()
	a, err := NewAggregates(s, AggregatesConfig[account, happening]{Apply: applied, Snapshot: snapshot, Tries: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
