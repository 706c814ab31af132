package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
)

// check makes transfers, by several callers at once, while the balances are rebuilt. Then it compares
// the projections with plain loops over the events.
func check(ctx context.Context, out io.Writer, b *bank, v *views, transfers int) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	return app.Run(ctx, v.balances, v.statements, app.Func(func(ctx context.Context) error {
		defer done()
		began := time.Now()
		if err := load(ctx, b, v, transfers); err != nil {
			return err
		}
		fmt.Fprintf(out, "transfers %d in %v\n", transfers, time.Since(began).Round(time.Millisecond))
		if err := v.settle(ctx); err != nil {
			return err
		}
		events, err := compare(ctx, b, v)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "events    %d\nsum       0\nresult    equals a plain loop over the events\n", events)
		return nil
	}))
}

// load makes transfers between random accounts.
func load(ctx context.Context, b *bank, v *views, transfers int) error {
	if transfers == 0 {
		return nil
	}
	rows, err := v.ready(ctx)
	if err != nil {
		return err
	}
	const callers = 8
	var all errgroup.Group
	for n := range callers {
		all.Go(func() error {
			for i := n; i < transfers; i += callers {
				from, to := rows[rand.IntN(len(rows))].ID, rows[rand.IntN(len(rows))].ID
				_, err := b.transfer(ctx, transfer{From: from, To: to, Amount: 1 + rand.Int64N(500),
					Note: fmt.Sprint("Transfer ", i), Expected: eventstore.Any})
				if err != nil && !errors.Is(err, errInvalid) && !errors.Is(err, errPoor) {
					return err
				}
			}
			return nil
		})
	}
	_, err = v.balances.Rebuild(ctx)
	return errors.Join(err, all.Wait())
}

// ready waits until the accounts are in the view.
func (v *views) ready(ctx context.Context) ([]row, error) {
	for {
		rows, err := v.all(ctx)
		if err == nil && len(rows) > 2 {
			return rows, nil
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// settle waits until the projections have all events, and the rebuilt one is live.
func (v *views) settle(ctx context.Context) error {
	for {
		balances, err := v.balances.Progress(ctx)
		if err != nil {
			return err
		}
		statements, err := v.statements.Progress(ctx)
		if err != nil {
			return err
		}
		if balances.Next == nil && balances.Live.Behind+statements.Live.Behind == 0 && statements.Live.Build != "" &&
			balances.Live.Build != "" {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(20 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return errors.New("interrupted before the projections had all events")
	}
}

// compare computes balances and statements by plain loops, and returns the number of events.
func compare(ctx context.Context, b *bank, v *views) (events int, err error) {
	rows, err := v.all(ctx)
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	for _, r := range rows {
		balance, lines := int64(0), []line{}
		for e, err := range b.store.Events(ctx, r.ID, 0) {
			if err != nil {
				return 0, err
			}
			events++
			l := line{ID: e.ID.String(), Time: e.Time().UnixMilli()}
			switch v := e.Value.(type) {
			case Sent:
				l.With, l.Amount, l.Note = v.To, -v.Amount, v.Note
			case Received:
				l.With, l.Amount, l.Note = v.From, v.Amount, v.Note
			default:
				continue
			}
			balance += l.Amount
			l.Balance = balance
			lines = append(lines, l)
		}
		sum += balance
		slices.Reverse(lines)
		got, err := v.statement(ctx, r.ID, mostLines)
		if err != nil {
			return 0, err
		}
		if balance != r.Balance || !slices.Equal(got, lines[:min(len(lines), mostLines)]) {
			return 0, fmt.Errorf("the views of %s differ from its events: balance %d, want %d; %d lines, want %d",
				r.ID, r.Balance, balance, len(got), len(lines))
		}
	}
	if sum != 0 {
		return 0, fmt.Errorf("the sum of all accounts is %d, not 0", sum)
	}
	return events, nil
}
