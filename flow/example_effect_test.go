package flow_test

import (
	"context"
	"fmt"
	"io"

	"github.com/streamerson/streamerson-go/flow"
)

// deposit is an effect: it is applied by the source, in one transaction with the acknowledgement of the entry, so that
// it happens exactly once.
type deposit struct {
	account string
	amount  int
}

func (d deposit) Effect() string { return fmt.Sprintf("deposit %d to %s", d.amount, d.account) }

// ledger is a source of payments that keeps the accounts in the same database.
type ledger struct {
	payments []int
	accounts map[string]int
	paid     int
}

func (l *ledger) Read(_ context.Context, in *flow.Intake[int]) error {
	for _, p := range l.payments {
		in.AddValue(p)
	}
	return io.EOF
}

func (l *ledger) Commit(_ context.Context, settled []flow.Settlement) error {
	for _, s := range settled { // one transaction
		for _, e := range s.Effects {
			d := e.(deposit)
			l.accounts[d.account] += d.amount
		}
		l.paid++
	}
	return nil
}

// A sink attaches an effect to the message instead of writing it. Where the source takes none, it writes as usual.
func ExampleMessage_Attach() {
	bank := &ledger{payments: []int{10, 20, 30}, accounts: make(map[string]int)}
	payments := flow.NewSource("payments", func() flow.Reader[int] { return bank }, flow.TakesEffects())
	book := flow.NewSink("book", func() flow.Writer[int] {
		return flow.WriterFunc[int](func(_ context.Context, chunk []flow.Message[int]) error {
			for _, m := range chunk {
				if !m.Attach(deposit{"savings", m.Value}) {
					return fmt.Errorf("book %d: only payments of the ledger can be booked", m.Value)
				}
			}
			return nil
		})
	})
	err := flow.New("bank", flow.To(payments, book)).Run(context.Background())
	fmt.Println(bank.accounts, "paid:", bank.paid, "error:", err)
	// Output:
	// map[savings:60] paid: 3 error: <nil>
}
