package main

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/projection"
	"github.com/streamerson/streamerson-go/redisio/eventstore"
	"github.com/streamerson/streamerson-go/redisio/view"
)

// views are the projections that queries read.
type views struct {
	rdb        redis.UniversalClient
	balances   *projection.Projection[Event]
	statements *projection.Projection[Event]
}

func newViews(rdb redis.UniversalClient, b *bank) (*views, error) {
	balances, err := projection.New(rdb, b.store, projection.Config[Event]{
		Name: "balances", Apply: applyBalance, Grace: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	statements, err := projection.New(rdb, b.store, projection.Config[Event]{
		Name: "statements", Apply: applyStatement, Grace: 5 * time.Second})
	return &views{rdb, balances, statements}, err
}

// applyBalance keeps the owner, the balance and the version of each account.
func applyBalance(_ context.Context, tx *view.Tx, e eventstore.Event[Event]) error {
	switch v := e.Value.(type) {
	case Opened:
		tx.HSet("owner", e.Aggregate, v.Owner)
		tx.HIncrBy("balance", e.Aggregate, 0)
	case Sent:
		tx.HIncrBy("balance", e.Aggregate, -v.Amount)
	case Received:
		tx.HIncrBy("balance", e.Aggregate, v.Amount)
	}
	tx.HSet("version", e.Aggregate, e.ID.String())
	return nil
}

// line is a line of a statement.
type line struct {
	ID      string `json:"id"`
	Time    int64  `json:"time"`
	With    string `json:"with"`
	Amount  int64  `json:"amount"`
	Balance int64  `json:"balance"` // after it
	Note    string `json:"note,omitempty"`
}

// mostLines is how many lines of a statement are kept.
const mostLines = 10_000

// applyStatement adds a line to the statement of an account, with the balance after it.
func applyStatement(ctx context.Context, tx *view.Tx, e eventstore.Event[Event]) error {
	l := line{ID: e.ID.String(), Time: e.Time().UnixMilli()}
	switch v := e.Value.(type) {
	case Sent:
		l.With, l.Amount, l.Note = v.To, -v.Amount, v.Note
	case Received:
		l.With, l.Amount, l.Note = v.From, v.Amount, v.Note
	default:
		return nil
	}
	before, err := tx.HGetInt(ctx, "balance", e.Aggregate)
	if err != nil {
		return err
	}
	l.Balance = before + l.Amount
	tx.HSet("balance", e.Aggregate, strconv.FormatInt(l.Balance, 10))
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	tx.RPush("lines:"+e.Aggregate, string(text), mostLines)
	return nil
}

// row is an account as the page shows it.
type row struct {
	ID      string `json:"id"`
	Owner   string `json:"owner"`
	Balance int64  `json:"balance"`
	Version string `json:"version"`
}

// all returns all accounts, by their owners, the vault last.
func (v *views) all(ctx context.Context) ([]row, error) {
	live, err := v.balances.Live(ctx)
	if err != nil {
		return nil, err
	}
	pipe := v.rdb.TxPipeline() // one moment
	owners := pipe.HGetAll(ctx, live.Key(0, "owner"))
	balances := pipe.HGetAll(ctx, live.Key(0, "balance"))
	versions := pipe.HGetAll(ctx, live.Key(0, "version"))
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	rows := []row{}
	for id, owner := range owners.Val() {
		balance, err := strconv.ParseInt(balances.Val()[id], 10, 64)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{id, owner, balance, versions.Val()[id]})
	}
	slices.SortFunc(rows, func(a, b row) int {
		switch {
		case a.ID == vault:
			return 1
		case b.ID == vault:
			return -1
		}
		return strings.Compare(a.Owner, b.Owner)
	})
	return rows, nil
}

// statement returns the newest lines of an account, newest first.
func (v *views) statement(ctx context.Context, id string, most int64) ([]line, error) {
	live, err := v.statements.Live(ctx)
	if err != nil {
		return nil, err
	}
	texts, err := v.rdb.LRange(ctx, live.Key(0, "lines:"+id), -most, -1).Result()
	if err != nil {
		return nil, err
	}
	lines := make([]line, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), &lines[len(texts)-1-i]); err != nil {
			return nil, err
		}
	}
	return lines, nil
}
