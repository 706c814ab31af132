package main

import (
	"context"
	"fmt"

	"github.com/streamerson/streamerson-go/flow"
)

// Invoice is a row of the database.
type Invoice struct {
	Number int
	Name   string
	Cents  int
}

// database stands for a real one, which inserts many rows at once and checks each. One goroutine
// uses it.
type database struct {
	rows    map[int]Invoice // by number, so that a repeated row is stored once
	inserts int
}

func newDatabase() *database { return &database{rows: make(map[int]Invoice)} }

// insert stores the valid rows. Its error rejects each of the others, because no retry can help.
func (d *database) insert(_ context.Context, rows []Invoice) error {
	d.inserts++
	refused := &flow.WriteError{Errs: make([]error, len(rows))}
	failed := false
	for i, row := range rows {
		if row.Cents <= 0 {
			failed, refused.Errs[i] = true, flow.Reject(fmt.Errorf("check amount_positive failed: %d cents", row.Cents))
			continue
		}
		d.rows[row.Number] = row
	}
	if !failed {
		return nil
	}
	return refused
}
