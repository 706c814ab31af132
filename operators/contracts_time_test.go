package operators_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/operators"
)

// mapped is a MapBatch that calls f with each value.
func mapped(in ints, f func(int) error, opts ...flow.StageOption) ints {
	return operators.MapBatch(sevens(in), func(_ context.Context, vs []int) ([]int, error) {
		errs, failed := make([]error, len(vs)), false
		for i, v := range vs {
			errs[i] = caught(f, v)
			failed = failed || errs[i] != nil
		}
		if failed {
			return vs, &flow.WriteError{Errs: errs}
		}
		return vs, nil
	}, opts...)
}

// caught returns the panic of f as an error.
func caught(f func(int) error, v int) (err error) {
	defer flow.Catch(&err)
	return f(v)
}

func adaptive(in ints) flow.Source[[]int] { return operators.BatchAdaptive(in, 7, time.Minute) }

// timeContracts are those of operators that adapt, buffer, wait or invent.
var timeContracts = []contract{
	promises("BatchAdaptive", "", flowtest.Traits[[]int]{Of: inBatch, Holds: 7, Joined: true}, adaptive),
	calls("BatchAdaptive", "sums", flowtest.Traits[int]{Holds: 7, Joined: true, Check: sameTotal},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints { return sum(adaptive(in), f, opts...) }),
	calls("MapBatch", "", flowtest.Traits[int]{Holds: 7}, mapped),
	promises("Buffer", "", flowtest.Traits[int]{Holds: 7}, func(in ints) ints {
		return operators.Buffer(in, 7, operators.Block)
	}),
	calls("Conflate", "", flowtest.Traits[int]{Holds: 7, Joined: true, Check: sameTotal},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.Conflate(in, 7, func(v int) int { return panics(f, v) },
				func(s, v int) int { return s + panics(f, v) }, opts...)
		}),
	promises("Extrapolate", "", flowtest.Traits[int]{Check: func(acked, out []int) error {
		return sameTotal(acked, slices.DeleteFunc(slices.Clone(out), func(v int) bool { return v < 0 }))
	}}, func(in ints) ints {
		return operators.Extrapolate(in, func(_, n int) (int, bool) { return -n, n < 3 })
	}),
	calls("Delay", "", flowtest.Traits[int]{Holds: 7, Order: flowtest.AnyOrder},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.Delay(in, 7, func(v int) time.Duration {
				return time.Duration(panics(f, v)%5) * 100 * time.Millisecond
			}, opts...)
		}),
	calls("Debounce", "", flowtest.Traits[int]{Holds: 7, Order: flowtest.AnyOrder},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.Debounce(in, 7, time.Second, 0, func(v int) int { return panics(f, v) }, opts...)
		}),
	calls("ThrottleCost", "", flowtest.Traits[int]{},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.ThrottleCost(in, 100, time.Second, 5, func(v int) int { return panics(f, v) % 9 }, opts...)
		}),
	calls("ThrottleShared", "", flowtest.Traits[int]{},
		func(in ints, f func(int) error, opts ...flow.StageOption) ints {
			return operators.ThrottleShared(in, &windows{most: 50, per: 100 * time.Millisecond},
				func(v int) int { return panics(f, v) % 9 }, opts...)
		}),
	promises("Sample", "", flowtest.Traits[int]{Holds: 1, Check: func(_, out []int) error {
		if !slices.IsSorted(out) {
			return errors.New("the outputs are out of order")
		}
		return nil
	}}, func(in ints) ints { return operators.Sample(in, 3*time.Second) }),
	promises("KeepAlive", "", flowtest.Traits[int]{}, func(in ints) ints {
		return operators.KeepAlive(in, 24*time.Hour, func() int { return -1 })
	}),
	promises("Watchdog", "blocked", flowtest.Traits[int]{}, func(in ints) ints {
		return operators.Watchdog(in, operators.Blocked, 24*time.Hour)
	}),
	promises("Watchdog", "", flowtest.Traits[int]{}, func(in ints) ints {
		return operators.Watchdog(in, operators.Idle, 24*time.Hour)
	}),
}
