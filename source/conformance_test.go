package source_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// breakBy is a flowtest.SourceBackend's Break for a source that reads through a proxy. commands are the
// Redis commands that a Breakage lets fail, in place of all of them.
func breakBy(
	p *redistest.Proxy, commands map[flowtest.Breakage]string,
) func(flowtest.Breakage) (struck func() bool, repair func()) {
	failures := func() int {
		c := p.Counts()
		return c.Refused + c.Total()
	}
	return func(how flowtest.Breakage) (struck func() bool, repair func()) {
		was := failures()
		struck = func() bool { return failures() > was }
		switch command := commands[how]; {
		case how == flowtest.LostConnection || how == flowtest.FailedOpen:
			p.SetDown(true)
			return struck, func() { p.SetDown(false) }
		case command == "":
			return nil, nil
		default:
			p.Cut(redistest.CutReply, command, 1_000_000)
			return struck, func() { p.Cut(0, "", 0) }
		}
	}
}

func numeral(i int) string { return fmt.Sprint(i) }

func TestFault_O5_BrokenSourcesKeepTheirPromises(t *testing.T) {
	const patience = redistest.Patience
	t.Run("stream", func(t *testing.T) {
		t.Parallel()
		flowtest.TestSource(t, flowtest.SourceTraits[string]{
			Make: numeral, Endless: true, Redelivers: true, DeadLetters: true, Resumes: true, Real: true, Many: 100,
			Patience: patience,
		}, streamBackend(patience))
	})
	t.Run("stream without a wait", func(t *testing.T) {
		t.Parallel()
		flowtest.TestSource(t, flowtest.SourceTraits[string]{
			Make: numeral, Endless: true, Redelivers: true, DeadLetters: true, Resumes: true, Real: true, Many: 20,
			Fatal: []flowtest.Breakage{flowtest.FailedOpen}, Patience: patience,
		}, streamBackend(0))
	})
	t.Run("range", func(t *testing.T) {
		t.Parallel()
		traits := flowtest.SourceTraits[string]{Make: numeral, Real: true, Many: 100, Patience: patience}
		flowtest.TestSource(t, traits,
			func(t *testing.T, values []string) flowtest.SourceBackend[string] {
				s := newStand(t)
				s.fill(t, len(values))
				p := redistest.StartProxy(t, s.Addr())
				return flowtest.SourceBackend[string]{
					Open: func(opts ...flow.StageOption) flow.Source[string] {
						return source.Range(p.Client(t), source.RangeConfig[string]{
							Key: s.key, MaxCount: 10, Wait: patience,
						}, opts...)
					},
					Break: breakBy(p, map[flowtest.Breakage]string{flowtest.FailedRead: "xrange"}),
				}
			})
	})
}

// streamBackend is a stream on a real server behind a proxy.
func streamBackend(wait time.Duration) func(*testing.T, []string) flowtest.SourceBackend[string] {
	return func(t *testing.T, values []string) flowtest.SourceBackend[string] {
		s := newStand(t)
		s.fill(t, len(values))
		p := redistest.StartProxy(t, s.Addr())
		rdb := p.Client(t)
		return flowtest.SourceBackend[string]{
			Open: func(opts ...flow.StageOption) flow.Source[string] {
				cfg := config[string](s)
				cfg.Wait = wait
				return source.Stream(rdb, cfg, opts...)
			},
			Pending: func() (int, error) {
				pending, _ := s.peek()
				return int(pending), nil
			},
			Break: breakBy(p, map[flowtest.Breakage]string{
				flowtest.FailedRead: "xreadgroup", flowtest.FailedCommit: "xack",
			}),
		}
	}
}

// The sources in memory read from sequences that cannot be read again. If a sequence fails, the
// graph ends with the error.
func TestFault_O5_SourcesInMemory(t *testing.T) {
	traits := flowtest.SourceTraits[int]{
		Make: func(i int) int { return i }, Fatal: []flowtest.Breakage{flowtest.FailedRead},
	}
	for name, open := range map[string]func(*testing.T, []int) flowtest.SourceBackend[int]{
		"values": func(_ *testing.T, values []int) flowtest.SourceBackend[int] {
			return flowtest.SourceBackend[int]{Open: func(opts ...flow.StageOption) flow.Source[int] {
				return source.Values(slices.Values(values), opts...)
			}}
		},
		"seq": func(_ *testing.T, values []int) flowtest.SourceBackend[int] {
			var seq breakable
			return flowtest.SourceBackend[int]{
				Open: func(opts ...flow.StageOption) flow.Source[int] { return source.Seq(seq.of(values), opts...) },
				Break: func(how flowtest.Breakage) (func() bool, func()) {
					if how != flowtest.FailedRead {
						return nil, nil
					}
					return seq.Break()
				},
			}
		},
		"chan": func(_ *testing.T, values []int) flowtest.SourceBackend[int] {
			c := make(chan int, len(values))
			for _, v := range values {
				c <- v
			}
			close(c)
			return flowtest.SourceBackend[int]{Open: func(opts ...flow.StageOption) flow.Source[int] {
				return source.Chan(c, opts...)
			}}
		},
		"queue": func(t *testing.T, values []int) flowtest.SourceBackend[int] {
			return flowtest.SourceBackend[int]{Open: func(opts ...flow.StageOption) flow.Source[int] {
				src, inbox := source.Queue[int](max(1, len(values)), opts...)
				for _, v := range values {
					if err := inbox.Offer(t.Context(), v); err != nil {
						t.Error(err)
					}
				}
				inbox.Close()
				return src
			}}
		},
	} {
		t.Run(name, func(t *testing.T) { flowtest.TestSource(t, traits, open) })
	}
}

// breakable makes sequences that fail while it is broken.
type breakable struct {
	mu             sync.Mutex
	broken, struck bool
}

func (b *breakable) fails() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.struck = b.struck || b.broken
	return b.broken
}

func (b *breakable) of(values []int) func(yield func(int, error) bool) {
	return func(yield func(int, error) bool) {
		for _, v := range values {
			if b.fails() {
				yield(0, errors.New("the sequence is broken"))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

func (b *breakable) Break() (struck func() bool, repair func()) {
	set := func(to bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.broken = to
	}
	set(true)
	return func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.struck
	}, func() { set(false) }
}
