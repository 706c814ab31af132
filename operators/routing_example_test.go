package operators_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func ExampleCase() {
	text, rest := operators.Case(source.Of[any]("tea", 7, "milk"), func(v any) (string, bool) {
		s, ok := v.(string)
		return s, ok
	})
	exec(flow.To(text, sink.Func(as[string]("text"))), flow.To(rest, sink.Func(as[any]("else"))))
	// Unordered output:
	// text tea
	// text milk
	// else 7
}

func ExampleUnzip() {
	type pair = operators.Pair[string, int]
	goods, prices := operators.Unzip(source.Of(pair{"tea", 3}, pair{"milk", 2}))
	exec(flow.To(goods, sink.Func(as[string]("goods"))), flow.To(prices, sink.Func(as[int]("price"))))
	// Unordered output:
	// goods tea
	// goods milk
	// price 3
	// price 2
}

func ExampleDivertTo() {
	empty := func(s string) bool { return s == "-" }
	orders, refused := operators.DivertTo(source.Of("tea", "-", "milk"), empty, sink.Func(as[string]("refused")))
	exec(flow.To(orders, sink.Func(as[string]("order"))), refused)
	// Unordered output:
	// order tea
	// refused -
	// order milk
}

func ExampleAlsoTo() {
	invoices, audit := operators.AlsoTo(source.Of("a", "b"), sink.Func(as[string]("audit")))
	exec(flow.To(invoices, sink.Func(as[string]("send"))), audit)
	// Unordered output:
	// send a
	// audit a
	// send b
	// audit b
}

func ExampleMergePreferred() {
	urgent, normal := source.Of("fire"), source.Of("mail", "phone")
	jobs := operators.MergePreferred(urgent, []flow.Source[string]{normal})
	exec(flow.To(jobs, sink.Func(printed[string])))
	// Unordered output:
	// fire
	// mail
	// phone
}

func ExampleMergeWeighted() {
	paying, free := source.Of("p1", "p2"), source.Of("f1")
	jobs := operators.MergeWeighted([]flow.Source[string]{paying, free}, []int{5, 1})
	exec(flow.To(jobs, sink.Func(printed[string])))
	// Unordered output:
	// p1
	// p2
	// f1
}

func ExampleConcat() {
	history, live := source.Of(1, 2), source.Of(3, 4)
	exec(flow.To(operators.Concat(history, live), sink.Func(printed[int])))
	// Output:
	// 1
	// 2
	// 3
	// 4
}

func ExampleInterleave() {
	dealt := operators.Interleave([]flow.Source[string]{source.Of("a1", "a2", "a3"), source.Of("b1")}, 1)
	exec(flow.To(dealt, sink.Func(printed[string])))
	// Output:
	// a1
	// b1
	// a2
	// a3
}

func ExampleOrElse() {
	exec(flow.To(operators.OrElse(source.Of[string](), source.Of("default")), sink.Func(printed[string])))
	// Output:
	// default
}

func ExampleMergeSorted() {
	logs := []flow.Source[string]{source.Of("09:00 a", "09:02 a"), source.Of("09:01 b", "09:05 b")}
	exec(flow.To(operators.MergeSorted(logs, strings.Compare, 0), sink.Func(printed[string])))
	// Output:
	// 09:00 a
	// 09:01 b
	// 09:02 a
	// 09:05 b
}

// Two workers get one job each and the third when one of them is done; the results come in the order
// of the jobs.
func ExampleMergeSequence() {
	jobs := operators.Balance(source.Of(1, 2, 3), 2)
	for i, js := range jobs {
		jobs[i] = operators.Map(js, func(ctx context.Context, n int) (int, error) {
			return n, flow.Sleep(ctx, time.Duration(3-n)*time.Millisecond)
		})
	}
	number := func(n int) uint64 { return uint64(n) }
	inOrder := operators.MergeSequence(jobs, number, 100, time.Minute, operators.SkipGap)
	exec(flow.To(inOrder, sink.Func(printed[int])))
	// Output:
	// 1
	// 2
	// 3
}

func ExampleZip() {
	lines := operators.Zip(source.Of("tea", "milk"), source.Of(3, 2, 9)) // 9 finds no partner
	exec(flow.To(lines, sink.Func(func(_ context.Context, p operators.Pair[string, int]) error {
		fmt.Println(p.First, "costs", p.Second)
		return nil
	})))
	// Output:
	// tea costs 3
	// milk costs 2
}

func ExampleWithLatest() {
	rates, amounts := source.Of(2), source.Of(10, 20)
	converted := operators.WithLatest(amounts, rates, func(_ context.Context, amount, rate int) (int, error) {
		return amount * rate, nil
	})
	exec(flow.To(converted, sink.Func(printed[int])))
	// Output:
	// 20
	// 40
}

func ExampleCombineLatest() {
	temperature, limit := source.Of(21), source.Of(25)
	within := operators.CombineLatest(temperature, limit, func(_ context.Context, t, most int) (string, error) {
		return fmt.Sprint(t <= most), nil
	})
	exec(flow.To(within, sink.Func(printed[string])))
	// Output:
	// true
}

func ExampleWireTap() {
	broken := sink.Func(func(context.Context, string) error { panic("out of order") })
	orders, tap := operators.WireTap(source.Of("tea", "milk"), broken)
	g := flow.New("shop", flow.To(orders, sink.Func(printed[string])), tap, flow.Log(slog.New(slog.DiscardHandler)))
	fmt.Println(g.Run(context.Background()))
	// Output:
	// tea
	// milk
	// <nil>
}

// Numbers are halved until they are odd.
func ExampleFeedback() {
	odd := operators.Feedback(source.Of(12, 7), 100, func(loop flow.Source[int]) (out, back flow.Source[int]) {
		even, odd := operators.Split(loop, func(n int) bool { return n%2 == 0 })
		return odd, operators.Map(even, flow.Pure(func(n int) int { return n / 2 }))
	})
	exec(flow.To(odd, sink.Func(printed[int])))
	// Unordered output:
	// 3
	// 7
}
