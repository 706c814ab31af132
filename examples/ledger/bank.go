package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
)

// The events of an account. Each transfer is an event of two accounts, so the sum of all accounts is
// always zero. Amounts are in cents.
type (
	Event  interface{ event() }
	Opened struct{ Owner string }
	Sent   struct {
		To     string `json:"to"`
		Amount int64  `json:"amount"`
		Note   string `json:"note,omitempty"`
	}
	Received struct {
		From   string `json:"from"`
		Amount int64  `json:"amount"`
		Note   string `json:"note,omitempty"`
	}
)

func (Opened) event()   {}
func (Sent) event()     {}
func (Received) event() {}

// Account is what the events of an account make.
type Account struct {
	Owner   string
	Balance int64
}

func apply(a Account, e eventstore.Event[Event]) Account {
	switch v := e.Value.(type) {
	case Opened:
		a.Owner = v.Owner
	case Sent:
		a.Balance -= v.Amount
	case Received:
		a.Balance += v.Amount
	}
	return a
}

// vault is the account that money comes from. Only it may have less than nothing.
const vault = "vault"

// bank takes the commands.
type bank struct {
	store    *eventstore.Store[Event]
	accounts *eventstore.Aggregates[Account, Event]
}

func newBank(rdb redis.UniversalClient, name string) (*bank, error) {
	store, err := eventstore.New(rdb, eventstore.Config[Event]{Name: name, Format: eventstore.Kinds(
		eventstore.Kind[Opened, Event]("opened"), eventstore.Kind[Sent, Event]("sent"),
		eventstore.Kind[Received, Event]("received"))})
	if err != nil {
		return nil, err
	}
	accounts, err := eventstore.NewAggregates(store, eventstore.AggregatesConfig[Account, Event]{
		Apply: apply, Snapshot: eventstore.SnapshotConfig[Account]{Name: "account", Version: 1}})
	return &bank{store, accounts}, err
}

// begin opens the first accounts, unless there are some.
func (b *bank) begin(ctx context.Context, accounts int) error {
	if err := b.store.Open(ctx); err != nil {
		return err
	}
	if err := b.open(ctx, vault, "Vault"); err != nil && !errors.Is(err, eventstore.ErrConflict) {
		return err
	}
	names := strings.Fields("Ann Bob Cleo Dan Eve Finn Gita Hugo")
	for i := range accounts {
		owner := names[i%len(names)]
		if i >= len(names) {
			owner += fmt.Sprint(" ", i/len(names)+1)
		}
		id := strings.ToLower(strings.ReplaceAll(owner, " ", "-"))
		err := b.open(ctx, id, owner)
		if errors.Is(err, eventstore.ErrConflict) {
			continue // it exists
		}
		if err == nil {
			_, err = b.transfer(ctx, transfer{ID: "first-" + id, From: vault, To: id, Amount: 100_000, Note: "Welcome"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open opens an account, or returns a conflict if it exists.
func (b *bank) open(ctx context.Context, id, owner string) error {
	_, err := b.store.Append(ctx, id, eventstore.None, Opened{owner})
	return err
}

// transfer is a command.
type transfer struct {
	ID       string     `json:"id"` // repeating a transfer with the same ID changes nothing
	From     string     `json:"from"`
	To       string     `json:"to"`
	Amount   int64      `json:"amount"`
	Note     string     `json:"note"`
	Expected redisio.ID `json:"-"` // the last event of From that the caller has seen; Any without one
}

var (
	errNoAccount = errors.New("no such account")
	errPoor      = errors.New("not enough money in the account")
	errInvalid   = errors.New("invalid transfer")
)

// transfer moves money between two accounts, in one append to both. If the caller expects no
// version, it repeats the decision after a conflict.
func (b *bank) transfer(ctx context.Context, t transfer) (r eventstore.Result, err error) {
	switch {
	case t.From == t.To:
		return r, fmt.Errorf("%w: from and to are the same account", errInvalid)
	case t.Amount <= 0 || t.Amount > 1e12:
		return r, fmt.Errorf("%w: amount must be 1 to 1000000000000 cents", errInvalid)
	case len(t.Note) > 200 || len(t.ID) > 100:
		return r, fmt.Errorf("%w: id or note is too long", errInvalid)
	}
	if t.ID != "" { // it may be repeated, and the money may be spent by now
		if r, done, err := b.store.Appended(ctx, t.ID, t.From, t.To); done || err != nil {
			return r, err
		}
	}
	tries := 200 // many transfers of one account at once, on a slow server
	if t.Expected != eventstore.Any && t.Expected != eventstore.None {
		tries = 1
	}
	err = eventstore.RetryConflicts(ctx, tries, func() error {
		from, err := b.accounts.Load(ctx, t.From)
		if err != nil {
			return err
		}
		_, exists, err := b.store.Last(ctx, t.To)
		switch {
		case err != nil:
			return err
		case from.Events == 0 || exists == 0:
			return errNoAccount
		case from.State.Balance < t.Amount && t.From != vault:
			if tries > 1 || from.Last == t.Expected {
				return errPoor
			}
		}
		if tries > 1 {
			t.Expected = from.Last
		}
		r, err = b.store.AppendAll(ctx, eventstore.Batch[Event]{ID: t.ID, Parts: []eventstore.Part[Event]{
			{Aggregate: t.From, Expected: t.Expected, Events: []Event{Sent{t.To, t.Amount, t.Note}}},
			{Aggregate: t.To, Expected: eventstore.Any, Events: []Event{Received{t.From, t.Amount, t.Note}}}}})
		return err
	})
	return r, err
}
