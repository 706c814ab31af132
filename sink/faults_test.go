package sink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
)

var errRow = errors.New("violates a constraint")

// bad are the rows that the test databases refuse.
func bad(row int) bool { return row%36 == 7 }

// insert is a database that refuses some rows, each with its own error.
type insert struct {
	refuse func(row int) error
	calls  [][]int
	rows   []int
}

func (db *insert) all(_ context.Context, rows []int) error {
	db.calls = append(db.calls, slices.Clone(rows))
	errs, failed := make([]error, len(rows)), false
	for i, row := range rows {
		if errs[i] = db.refuse(row); errs[i] != nil {
			failed = true
			continue
		}
		db.rows = append(db.rows, row)
	}
	if failed {
		return &flow.WriteError{Errs: errs}
	}
	return nil
}

func rejectBad(row int) error {
	if bad(row) {
		return flow.Reject(errRow)
	}
	return nil
}

func failBad(row int) error {
	if bad(row) {
		return errRow
	}
	return nil
}

func rows(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// wantOutcomes checks how each row was settled.
func wantOutcomes(t *testing.T, feed *flowtest.Feeder[int], want func(row int) flow.Outcome) {
	t.Helper()
	for _, s := range feed.Settlements() {
		if s.Outcome != want(s.Value) {
			t.Errorf("row %d: %v (%v), want %v", s.Value, s.Outcome, s.Err, want(s.Value))
		}
	}
}

func deadIfBad(row int) flow.Outcome {
	if bad(row) {
		return flow.Dead
	}
	return flow.Acked
}

// The database refuses 10 of 360 rows: these become dead letters, and the 350 that were written are
// acked.
func TestFault_D11_BatchesWithABadRow(t *testing.T) {
	const n = 360
	for name, build := range map[string]func(flow.Source[int], *insert) flow.Branch{
		"batch": func(in flow.Source[int], db *insert) flow.Branch {
			return flow.To(operators.Batch(in, 120, time.Second), sink.Func(db.all))
		},
		"batches in a chunk": func(in flow.Source[int], db *insert) flow.Branch {
			return flow.To(operators.Batch(in, 40, time.Second), sink.Func(db.all, flow.ChunkSize(3)))
		},
		"mapped batch": func(in flow.Source[int], db *insert) flow.Branch {
			batches := operators.Batch(in, 120, time.Second)
			same := operators.Map(batches, func(_ context.Context, rows []int) ([]int, error) { return rows, nil })
			return flow.To(same, sink.Func(db.all))
		},
		"unbatch": func(in flow.Source[int], db *insert) flow.Branch {
			return flow.To(operators.Unbatch(operators.Batch(in, 120, time.Second)), sink.Batches(db.all))
		},
		"unbatch, one by one": func(in flow.Source[int], db *insert) flow.Branch {
			return flow.To(operators.Unbatch(operators.Batch(in, 120, time.Second)),
				sink.Func(func(_ context.Context, row int) error { return db.refuse(row) }))
		},
		"unbatch, a handler between": func(in flow.Source[int], db *insert) flow.Branch {
			rows := operators.Unbatch(operators.Batch(in, 120, time.Second))
			checked := operators.Map(rows, func(_ context.Context, row int) (int, error) { return row, db.refuse(row) })
			return flow.To(checked, sink.Discard[int]())
		},
		"unbatch, batch again": func(in flow.Source[int], db *insert) flow.Branch {
			rows := operators.Unbatch(operators.Batch(in, 90, time.Second))
			return flow.To(operators.Batch(rows, 120, time.Second), sink.Func(db.all))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, feed := flowtest.Feed[int](t)
				db := &insert{refuse: rejectBad}
				feed.Send(rows(n)...)
				feed.Close()
				if err := flowtest.Run(t, build(src, db)); err != nil {
					t.Fatal(err)
				}
				feed.WantSettled(map[flow.Outcome]int{flow.Acked: n - 10, flow.Dead: 10})
				wantOutcomes(t, feed, deadIfBad)
			})
		})
	}
}

// Rows that fail without being rejected follow the fault policy: they are written again without the
// others.
func TestFault_D11_OnlyBadRowsAreWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		tries := make(map[int]int)
		db := &insert{refuse: func(row int) error {
			if tries[row]++; row == 3 && tries[row] < 3 || row == 5 {
				return errRow
			}
			return nil
		}}
		feed.Send(rows(8)...)
		feed.Close()
		err := flowtest.Run(t, flow.To(operators.Batch(src, 8, time.Second), sink.Func(db.all),
			flow.OnFault(flow.Retry(4, time.Second, flow.DeadLetter))))
		if err != nil {
			t.Fatal(err)
		}
		want := [][]int{rows(8), {3, 5}, {3, 5}, {5}, {5}}
		if diff := cmp.Diff(want, db.calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		wantOutcomes(t, feed, func(row int) flow.Outcome {
			if row == 5 {
				return flow.Dead
			}
			return flow.Acked
		})
	})
}

// A row that one of two branches refuses becomes a dead letter, whichever branch it is. A stop
// halfway gives back the rows not written.
func TestFault_D11_BranchesAndStops(t *testing.T) {
	t.Run("two branches", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t)
			two := operators.FanOut(operators.Batch(src, 10, time.Second), 2)
			refuse := func(bad int) func(int) error {
				return func(row int) error {
					if row == bad {
						return flow.Reject(errRow)
					}
					return nil
				}
			}
			a, b := &insert{refuse: refuse(2)}, &insert{refuse: refuse(6)}
			feed.Send(rows(10)...)
			feed.Close()
			if err := flowtest.Run(t, flow.To(two[0], sink.Func(a.all)),
				flow.To(two[1], sink.Func(b.all))); err != nil {
				t.Fatal(err)
			}
			wantOutcomes(t, feed, func(row int) flow.Outcome {
				if row == 2 || row == 6 {
					return flow.Dead
				}
				return flow.Acked
			})
		})
	})
	t.Run("stop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src, feed := flowtest.Feed[int](t)
			db := &insert{refuse: failBad}
			feed.Send(rows(10)...)
			r := flowtest.Start(t, flow.To(operators.Batch(src, 10, time.Second), sink.Func(db.all),
				flow.OnFault(flow.Retry(100, time.Minute, flow.DeadLetter))))
			synctest.Wait()
			if err := r.Stop(); err != nil {
				t.Error(err)
			}
			wantOutcomes(t, feed, func(row int) flow.Outcome {
				if bad(row) {
					return flow.Nacked
				}
				return flow.Acked
			})
		})
	})
}

// Batches waits for a full chunk, but not longer than Within, nor at the end.
func TestFault_D11_BatchesWaitWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, feed := flowtest.Feed[int](t)
		var calls []string
		began := time.Now()
		r := flowtest.Start(t, flow.To(src, sink.Batches(func(_ context.Context, rows []int) error {
			calls = append(calls, fmt.Sprint(len(rows), " after ", time.Since(began)))
			return nil
		}, flow.ChunkSize(100), flow.Within(500*time.Millisecond))))
		feed.Send(rows(30)...)
		time.Sleep(300 * time.Millisecond)
		feed.Send(rows(170)...)
		time.Sleep(200 * time.Millisecond)
		feed.Send(rows(10)...)
		time.Sleep(time.Second)
		feed.Send(rows(5)...)
		feed.Close()
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		want := []string{"100 after 300ms", "100 after 300ms", "10 after 1s", "5 after 1.5s"}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		feed.WantSettled(map[flow.Outcome]int{flow.Acked: 215})
	})
}
