package operators_test

import (
	"context"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func ExampleBuffer() {
	ahead := operators.Buffer(source.Of(1, 2, 3), 100, operators.Block)
	exec(flow.To(ahead, sink.Func(printed[int])))
	// Output:
	// 1
	// 2
	// 3
}

// Values that come while the sink is busy are added up. None is lost.
func ExampleConflate() {
	add := func(sum, v int) int { return sum + v }
	sums := operators.Conflate(source.Of(1, 2, 3, 4), 100, func(v int) int { return v }, add)
	total := 0
	exec(flow.To(sums, sink.Func(func(_ context.Context, sum int) error {
		total += sum
		return nil
	})))
	fmt.Println("total:", total)
	// Output:
	// total: 10
}

// While the next position is late, a step of one is assumed.
func ExampleExtrapolate() {
	late := make(chan int, 1)
	late <- 10
	positions := operators.Extrapolate(source.Chan(late), func(last, n int) (int, bool) { return last + n, n <= 2 })
	exec(flow.To(positions, sink.Func(func(_ context.Context, v int) error {
		if fmt.Println(v); v == 12 {
			close(late)
		}
		return nil
	})))
	// Output:
	// 10
	// 11
	// 12
}

// The values come in the order 1, 2, 3, unless this program gets no processor for longer than the delays.
func ExampleDelay() {
	began := time.Now()
	slower := operators.Delay(source.Of(3, 1, 2), 100, func(v int) time.Duration {
		return time.Duration(v) * 20 * time.Millisecond
	})
	exec(flow.To(slower, sink.Func(printed[int])))
	fmt.Println("took 60 ms or more:", time.Since(began) >= 60*time.Millisecond)
	// Unordered output:
	// 1
	// 2
	// 3
	// took 60 ms or more: true
}

func ExampleDebounce() {
	type reading = operators.Pair[string, int] // a sensor, and its value
	read := func(sensor string, v int) reading { return reading{First: sensor, Second: v} }
	readings := source.Of(read("a", 1), read("a", 2), read("b", 7), read("a", 3))
	settled := operators.Debounce(readings, 1000, time.Minute, time.Hour,
		func(r reading) string { return r.First })
	exec(flow.To(settled, sink.Func(printed[reading])))
	// Output:
	// {b 7}
	// {a 3}
}

func ExampleSample() {
	latest := operators.Sample(source.Of(1, 2, 3), time.Minute)
	exec(flow.To(latest, sink.Func(printed[int])))
	// Output:
	// 3
}

func ExampleKeepAlive() {
	idle := make(chan string)
	alive := operators.KeepAlive(source.Chan(idle), time.Millisecond, func() string { return "still here" })
	heard := false
	exec(flow.To(alive, sink.Func(func(_ context.Context, s string) error {
		if !heard {
			fmt.Println(s)
			heard = true
			close(idle)
		}
		return nil
	})))
	// Output:
	// still here
}

func ExampleWatchdog() {
	silent := make(chan int)
	guarded := operators.Watchdog(source.Chan(silent), operators.Idle, 10*time.Millisecond)
	exec(flow.To(guarded, sink.Func(printed[int])))
	// Output:
	// flow: graph "example": stage "watchdog": flow: the stream has stalled: no message came for 10ms
}
