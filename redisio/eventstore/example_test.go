package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
)

// The events of a bank account.
type (
	Event     interface{ event() }
	Deposited struct{ Amount int }
	Withdrawn struct{ Amount int }
)

func (Deposited) event() {}
func (Withdrawn) event() {}

// Account is what they make.
type Account struct{ Balance int }

func Apply(a Account, e eventstore.Event[Event]) Account {
	switch v := e.Value.(type) {
	case Deposited:
		a.Balance += v.Amount
	case Withdrawn:
		a.Balance -= v.Amount
	}
	return a
}

// bank returns a store on a server of its own.
func bank() (store *eventstore.Store[Event], end func()) {
	srv, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	rdb := srv.Client()
	store, err = eventstore.New(rdb, eventstore.Config[Event]{Name: "bank", Format: eventstore.Kinds(
		eventstore.Kind[Deposited, Event]("deposited"), eventstore.Kind[Withdrawn, Event]("withdrawn"))})
	if err != nil {
		log.Fatal(err)
	}
	return store, func() { rdb.Close(); srv.Close() }
}

// Two callers append to an account. The second one expects an event that is no longer the last.
func ExampleStore_Append() {
	ctx := context.Background()
	store, end := bank()
	defer end()
	first, err := store.Append(ctx, "ann", eventstore.None, Deposited{100})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.Append(ctx, "ann", first, Withdrawn{70}); err != nil {
		log.Fatal(err)
	}
	_, err = store.Append(ctx, "ann", first, Withdrawn{60})
	var conflict *eventstore.Conflict[Event]
	if errors.As(err, &conflict) {
		fmt.Println("meanwhile:", conflict.Between[0].Type, conflict.Between[0].Value)
	}
	// Output: meanwhile: withdrawn {70}
}

// A transfer changes two accounts together. Repeating it with the same ID changes nothing.
func ExampleStore_AppendAll() {
	ctx := context.Background()
	store, end := bank()
	defer end()
	transfer := eventstore.Batch[Event]{ID: "transfer-1", Parts: []eventstore.Part[Event]{
		{Aggregate: "ann", Expected: eventstore.Any, Events: []Event{Withdrawn{5}}},
		{Aggregate: "bob", Expected: eventstore.Any, Events: []Event{Deposited{5}}},
	}}
	for range 2 {
		result, err := store.AppendAll(ctx, transfer)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("repeated:", result.Repeated)
	}
	// Output:
	// repeated: false
	// repeated: true
}

// A command loads an account and decides. If another caller appends meanwhile, it decides again.
func ExampleAggregates_Update() {
	ctx := context.Background()
	store, end := bank()
	defer end()
	accounts, err := eventstore.NewAggregates(store, eventstore.AggregatesConfig[Account, Event]{
		Apply: Apply, Snapshot: eventstore.SnapshotConfig[Account]{Name: "account", Version: 1},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.Append(ctx, "ann", eventstore.None, Deposited{100}); err != nil {
		log.Fatal(err)
	}
	withdraw := func(amount int) error {
		now, err := accounts.Update(ctx, "ann", func(ann eventstore.Loaded[Account]) ([]Event, error) {
			if ann.State.Balance < amount {
				return nil, fmt.Errorf("there are only %d", ann.State.Balance)
			}
			return []Event{Withdrawn{amount}}, nil
		})
		fmt.Println(now.State.Balance, err)
		return err
	}
	_ = withdraw(70)
	_ = withdraw(70)
	// Output:
	// 30 <nil>
	// 30 there are only 30
}

// The events of an aggregate are read in order.
func ExampleStore_Events() {
	ctx := context.Background()
	store, end := bank()
	defer end()
	if _, err := store.Append(ctx, "ann", eventstore.None, Deposited{100}, Withdrawn{70}); err != nil {
		log.Fatal(err)
	}
	for e, err := range store.Events(ctx, "ann", 0) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Type, e.Value)
	}
	// Output:
	// deposited {100}
	// withdrawn {70}
}

// A decision that needs two aggregates loads both, and is made again after a conflict.
func ExampleRetryConflicts() {
	ctx := context.Background()
	store, end := bank()
	defer end()
	tries := 0
	err := eventstore.RetryConflicts(ctx, 10, func() error {
		last, _, err := store.Last(ctx, "ann")
		if err != nil {
			return err
		}
		if tries++; tries == 1 { // another caller is faster
			if _, err := store.Append(ctx, "ann", eventstore.Any, Deposited{1}); err != nil {
				return err
			}
		}
		_, err = store.Append(ctx, "ann", last, Deposited{2})
		return err
	})
	fmt.Println(tries, err)
	// Output: 2 <nil>
}

// Open refuses a server that would delete events.
func ExampleStore_Open() {
	store, end := bank()
	defer end()
	if err := store.Open(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Logs())
	// Output: [{bank:0}log]
}

// The least rights of a program that appends and loads.
func ExampleConfig_access() {
	fmt.Println(eventstore.Config[string]{Name: "bank"}.Access().Writes)
	// Output: [{bank:*]
}

// Events of one struct need no kinds.
func ExampleNew() {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	type Reading struct{ Degrees float64 }
	_, err := eventstore.New(rdb, eventstore.Config[Reading]{Name: "weather", Partitions: 4})
	fmt.Println(err)
	_, err = eventstore.New(rdb, eventstore.Config[Reading]{Name: "{weather}", Partitions: 4})
	var mistake *redisio.ConfigError
	fmt.Println(errors.As(err, &mistake), mistake.Field)
	// Output:
	// <nil>
	// true Name
}
