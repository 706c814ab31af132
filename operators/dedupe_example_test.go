package operators_test

import (
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// Use a dedupe.Store to share the keys between processes.
func ExampleDedupe() {
	type payment struct{ id, text string }
	done := &operators.DedupeMemory{Window: time.Hour}
	payments := source.Of(payment{"1", "tea"}, payment{"2", "milk"}, payment{"1", "tea, sent again"})
	once := operators.Dedupe(payments, func(p payment) string { return p.id }, done)
	exec(flow.To(once, sink.Func(printed[payment])))
	// The store remembers handled keys: another graph, or this one after a restart, drops them too.
	again := operators.Dedupe(
		source.Of(payment{"2", "milk, once more"}, payment{"3", "jam"}),
		func(p payment) string { return p.id },
		done,
	)
	exec(flow.To(again, sink.Func(printed[payment])))
	// Output:
	// {1 tea}
	// {2 milk}
	// {3 jam}
}
