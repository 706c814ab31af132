package operators_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/ratelimit"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// A request costs as many units as it has bytes: at most 1000 bytes in a second, 100 at once.
func ExampleThrottleCost() {
	began := time.Now()
	size := func(s string) int { return len(s) }
	paced := operators.ThrottleCost(source.Of("short", "a much longer text"), 1000, time.Second, 10, size)
	exec(flow.To(paced, sink.Func(printed[string])))
	fmt.Println("took 10 ms or more:", time.Since(began) >= 10*time.Millisecond)
	// Output:
	// short
	// a much longer text
	// took 10 ms or more: true
}

// unlimited is a limit for this example. See the other example for one in Redis.
type unlimited struct{}

func (unlimited) Take(_ context.Context, want int) (int, time.Duration, error) { return want, 0, nil }

func ExampleThrottleShared() {
	paced := operators.ThrottleShared(source.Of(1, 2), unlimited{}, nil)
	exec(flow.To(paced, sink.Func(printed[int])))
	// Output:
	// 1
	// 2
}

// All processes together call the geocoder at most 50 times in a second.
func ExampleThrottleShared_redis() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	limit, err := ratelimit.New(rdb, ratelimit.Config{Key: "limits:geocoder", Most: 50, Per: time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	paced := operators.ThrottleShared(source.Of("Main Street 1"), limit, nil)
	exec(flow.To(paced, sink.Func(printed[string])))
}
