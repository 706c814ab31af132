package operators_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

func TestTry(t *testing.T) {
	for manner, how := range manners {
		virtual(t, manner+"/errors and panics are values, verdicts are not", func(t *testing.T) {
			in, good, bad := numbers(9), &box[int]{}, &box[flow.Failure[int]]{}
			ok, failed := operators.Try(in.source(), func(ctx context.Context, v int) (int, error) {
				switch v {
				case 1, 2:
					return 0, errBoom
				case 3:
					panic(errBoom)
				case 4:
					return 0, flow.Skip
				case 5:
					return 0, flow.Reject(errBoom)
				case 6:
					return 0, flow.RetryAfter(time.Minute, errBoom)
				}
				return 10 * v, nil
			}, how.opts...)
			run(t, flow.To(ok, good.sink()), flow.To(failed, bad.sink()))
			in.outcomes(t, map[int]flow.Outcome{4: flow.Dropped, 5: flow.Dead, 6: flow.Nacked})
			got := make(map[int]bool)
			for _, v := range good.values() {
				got[v] = true
			}
			if diff := cmp.Diff(map[int]bool{0: true, 70: true, 80: true}, got); diff != "" {
				t.Errorf("values that succeeded (-want +got):\n%s", diff)
			}
			failures := make(map[int]flow.Failure[int])
			for _, f := range bad.values() {
				failures[f.Value] = f
				if !errors.Is(f.Err(), errBoom) {
					t.Errorf("the failure of %d has the error %v", f.Value, f.Err())
				}
			}
			if len(failures) != 3 || len(bad.values()) != 3 {
				t.Fatalf("failures: %v, want those of 1, 2 and 3", bad.values())
			}
			if p := new(flow.PanicError); !errors.As(failures[3].Err(), &p) ||
				!strings.Contains(string(p.Stack), "try_test.go") {
				t.Errorf("the panic lost its stack: %v", failures[3].Err())
			}
			if f := failures[1]; f.ID != "1" || f.Attempt != 1 || f.Error != "boom" || f.Stage != "try" ||
				f.Time.IsZero() {
				t.Errorf("the failure does not say what happened: %+v", f)
			}
		})
		virtual(t, manner+"/a stop is no failure", func(t *testing.T) {
			in, good, bad := numbers(20), &box[int]{}, &box[flow.Failure[int]]{}
			ok, failed := operators.Try(in.source(), func(ctx context.Context, v int) (int, error) {
				return v, wait(ctx, time.Hour)
			}, how.opts...)
			r := start(t, flow.To(ok, good.sink()), flow.To(failed, bad.sink()))
			time.Sleep(time.Second)
			if err := r.Stop(); err != nil {
				t.Errorf("Stop: %v", err)
			}
			bad.want(t)
			in.allSettledAs(t, flow.Nacked)
		})
	}
	virtual(t, "order", func(t *testing.T) {
		in, good, bad := numbers(100), &box[int]{}, &box[flow.Failure[int]]{}
		ok, failed := operators.Try(in.source(), func(ctx context.Context, v int) (int, error) {
			if err := wait(ctx, time.Duration(v*7%5)*time.Millisecond); err != nil || v%2 == 1 {
				return 0, errBoom
			}
			return v, nil
		}, flow.Name("price"), flow.Workers(8))
		run(t, flow.To(ok, good.sink()), flow.To(failed, bad.sink()))
		for i, v := range good.values() {
			if v != 2*i {
				t.Fatalf("value %d is %d, want %d", i, v, 2*i)
			}
		}
		for i, f := range bad.values() {
			if f.Stage != "price" {
				t.Fatalf("the failure names stage %q", f.Stage)
			}
			if f.Value != 2*i+1 {
				t.Fatalf("failure %d is of %d, want %d", i, f.Value, 2*i+1)
			}
		}
		in.allSettledAs(t, flow.Acked)
	})
	virtual(t, "a permanent error stops the graph", func(t *testing.T) {
		in, bad := numbers(3), &box[flow.Failure[int]]{}
		ok, failed := operators.Try(in.source(), func(_ context.Context, v int) (int, error) {
			return v, flow.Permanent(errBoom)
		})
		err := flow.New("test", flow.To(ok, discard[int]()), flow.To(failed, bad.sink())).Run(t.Context())
		if stage := new(flow.StageError); !errors.As(err, &stage) || stage.Stage != "try" || !errors.Is(err, errBoom) {
			t.Errorf("the graph ended with %v", err)
		}
		bad.want(t)
	})
	virtual(t, "a timeout is a failure", func(t *testing.T) {
		in, bad := numbers(2), &box[flow.Failure[int]]{}
		ok, failed := operators.Try(in.source(), func(ctx context.Context, v int) (int, error) {
			return v, wait(ctx, time.Hour)
		}, flow.Timeout(time.Second))
		run(t, flow.To(ok, discard[int]()), flow.To(failed, bad.sink()))
		if got := bad.values(); len(got) != 2 || !errors.Is(got[0].Err(), context.DeadlineExceeded) {
			t.Errorf("failures: %v, want two of the deadline", got)
		}
	})
	virtual(t, "a failure that cannot be kept", func(t *testing.T) {
		in := numbers(3)
		ok, failed := operators.Try(in.source(), func(_ context.Context, v int) (int, error) {
			if v == 1 {
				return 0, errBoom
			}
			return v, nil
		})
		down := &box[flow.Failure[int]]{
			each: func(context.Context, flow.Failure[int]) error { return errors.New("down") },
		}
		run(t, flow.To(ok, discard[int]()), flow.To(failed, down.sink(), flow.OnFault(flow.Nack)))
		in.outcomes(t, map[int]flow.Outcome{1: flow.Nacked})
	})
}

func TestTryFailureAsJSON(t *testing.T) {
	in, bad := newFeed("a"), &box[flow.Failure[string]]{}
	ok, failed := operators.Try(in.source(), func(context.Context, string) (string, error) { return "", errBoom })
	run(t, flow.To(ok, discard[string]()), flow.To(failed, bad.sink()))
	text, err := json.Marshal(bad.values()[0])
	if err != nil || !strings.Contains(string(text), `"value":"a","error":"boom","stage":"try","id":"0"`) {
		t.Errorf("%s, %v", text, err)
	}
}
