package flowtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
)

// stuck blocks in each Read, in a way that a bubble knows or does not know.
type stuck struct {
	bounded
	block func()
}

func (s *stuck) Read(context.Context, *flow.Intake[int]) error {
	s.block()
	return nil
}

// blockOnLock blocks where a bubble does not see it.
func blockOnLock() {
	var mu sync.Mutex
	mu.Lock()
	mu.Lock()
}

func blockOnChannel() { <-make(chan int) }

func stuckSource(block func()) func(*testing.T) {
	return func(t *testing.T) {
		flowtest.TestSource(t, flowtest.SourceTraits[int]{
			Make: func(i int) int { return i }, Limit: limit,
		}, func(_ *testing.T, values []int) flowtest.SourceBackend[int] {
			return flowtest.SourceBackend[int]{Open: func(opts ...flow.StageOption) flow.Source[int] {
				return flow.NewSource("stuck", func() flow.Reader[int] {
					return &stuck{bounded{values: values}, block}
				}, opts...)
			}}
		})
	}
}

// limit is how long a test may take in the child process.
var limit, _ = time.ParseDuration(os.Getenv("FLOWTEST_LIMIT"))

// hangs are conformance tests that never end by themselves.
var hangs = map[string]struct {
	test func(*testing.T)
	want []string // in the output
}{
	"source in a bubble": {stuckSource(blockOnLock), []string{"/0_values hangs", "blockOnLock"}},
	"source deadlocks": {
		stuckSource(blockOnChannel), []string{"/0_values panicked: deadlock", "blockOnChannel"},
	},
	"sink": {func(t *testing.T) {
		flowtest.TestSink(t, flowtest.SinkTraits[int]{Make: func(i int) int { return i }, Limit: limit},
			func(*testing.T) flowtest.SinkBackend[int] {
				return flowtest.SinkBackend[int]{
					Open: func(opts ...flow.StageOption) flow.Sink[int] {
						return flow.NewSink("stuck", func() flow.Writer[int] {
							return flow.WriterFunc[int](func(context.Context, []flow.Message[int]) error {
								blockOnLock()
								return nil
							})
						}, opts...)
					},
					Written: func() ([]int, error) { return nil, nil },
				}
			})
	}, []string{"/1_values hangs", "blockOnLock"}},
	"operator": {func(t *testing.T) {
		flowtest.TestOperator(t, flowtest.Traits[int]{Limit: limit}, func(in flow.Source[int]) flow.Source[int] {
			return mapped(in, func(int) error { blockOnLock(); return nil })
		})
	}, []string{"/1_values hangs", "blockOnLock"}},
	"backend in real time": {func(t *testing.T) {
		flowtest.TestSource(t, flowtest.SourceTraits[int]{Real: true, Limit: limit, Make: func(i int) int { return i }},
			func(t *testing.T, _ []int) flowtest.SourceBackend[int] {
				blockOnLock()
				return flowtest.SourceBackend[int]{}
			})
	}, []string{"/0_values hangs", "blockOnLock"}},
}

// Each test runs in a process of its own, where it may fail. The -timeout of go test would end it
// there after a minute.
func TestFault_O5_HangFails(t *testing.T) {
	if which := os.Getenv("FLOWTEST_HANG"); which != "" {
		hangs[which].test(t)
		return
	}
	for name, c := range hangs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mistakes []string
			// On a slow machine a test may reach its limit before it is stuck.
			for _, limit := range []string{"100ms", "1s", "5s"} {
				if mistakes = hang(t, name, limit, c.want); len(mistakes) == 0 {
					return
				}
			}
			t.Error(strings.Join(mistakes, "\n"))
		})
	}
}

// hang runs one of the hangs, and returns what is wrong with its end.
func hang(t *testing.T, name, limit string, wanted []string) (mistakes []string) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFault_O5_HangFails$/^(0|1)_values$",
		"-test.timeout=60s")
	cmd.Env = append(os.Environ(), "FLOWTEST_HANG="+name, "FLOWTEST_LIMIT="+limit)
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		mistakes = append(mistakes, fmt.Sprintf("it passes (%v):\n%s", err, out))
	}
	for _, want := range append(wanted, "--- FAIL: TestFault_O5_HangFails") {
		if !strings.Contains(string(out), want) {
			mistakes = append(mistakes, fmt.Sprintf("the output lacks %q:\n%s", want, out))
		}
	}
	if strings.Contains(string(out), "test timed out") {
		mistakes = append(mistakes, "go test has ended it")
	}
	return mistakes
}
