package bench

import (
	"context"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/operators/window"
)

// eventTime is the event time of a value: one millisecond later than that of the one before.
func eventTime(v int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(v)) }

func itself(v int) int { return v }

// unpacked returns the values of windows, one by one.
func unpacked(results flow.Source[window.Result[int, []int]]) ints {
	return operators.FlatMap(results, func(_ context.Context, r window.Result[int, []int], emit func(int)) error {
		for _, v := range r.Value {
			emit(v)
		}
		return nil
	})
}

// timedOperators work by time.
func timedOperators() []operator {
	fixed := func(w window.Windows, key func(int) int) func(ints, func(flow.Part)) ints {
		return func(in ints, rest func(flow.Part)) ints {
			results, late := operators.Window(in, window.Config[int, int]{
				Windows: w, Key: key, Time: eventTime, MaxHeld: 4096,
			}, window.Values[int](4096))
			discard(rest, late)
			return unpacked(results)
		}
	}
	return []operator{
		{"window-time", "Window: event time, 256ms, one key, and FlatMap",
			fixed(window.Tumbling(256*time.Millisecond), func(int) int { return 0 }), nil},
		{"window-keys", "Window: event time, 1s, 16 keys, and FlatMap",
			fixed(window.Tumbling(time.Second), func(v int) int { return v % 16 }), nil},
		{"delay", "Delay of nothing", func(in ints, _ func(flow.Part)) ints {
			return operators.Delay(in, 256, func(int) time.Duration { return 0 })
		}, nil},
		{"debounce", "Debounce: each value has a key of its own", func(in ints, _ func(flow.Part)) ints {
			return operators.Debounce(in, 256, time.Millisecond, 0, itself)
		}, nil},
		{"keep-alive", "KeepAlive, never needed", func(in ints, _ func(flow.Part)) ints {
			return operators.KeepAlive(in, time.Hour, func() int { return 0 })
		}, nil},
		{"interleave", "Split into even and odd, and Interleave", func(in ints, _ func(flow.Part)) ints {
			even, odd := operators.Split(in, func(v int) bool { return v&1 == 0 })
			return operators.Interleave([]ints{even, odd}, 1)
		}, nil},
		{"drop", "Drop of nothing", func(in ints, _ func(flow.Part)) ints { return operators.Drop(in, 0) }, nil},
	}
}
