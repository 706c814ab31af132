package flowtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
)

// memory is a backend with all features of a stream with a consumer group. The conformance tests
// run against it.
type memory struct {
	mu      sync.Mutex
	changed chan struct{}
	queue   []memoryEntry
	pending map[int]memoryEntry

	broken map[flowtest.Breakage]bool
	struck int // operations that have failed

	hurt     func(*memory) // a mistake of the source's, when an operation fails
	careless bool          // another: it does not report failed commits
}

// fails returns an error if the backend is broken in one of these ways. The caller holds mu.
func (m *memory) fails(ways ...flowtest.Breakage) error {
	for _, how := range ways {
		if m.broken[how] {
			m.struck++
			if m.hurt != nil {
				m.hurt(m)
			}
			return fmt.Errorf("memory: %s", how)
		}
	}
	return nil
}

// damage is a SourceBackend's Break.
func (m *memory) damage(how flowtest.Breakage) (struck func() bool, repair func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken[how] = true
	m.change()
	was := m.struck
	return func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.struck > was
		}, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.broken[how] = false
		}
}

// change wakes all waiting calls. The caller holds mu.
func (m *memory) change() {
	close(m.changed)
	m.changed = make(chan struct{})
}

type memoryEntry struct {
	id, value, attempt int
}

func newMemory(values []int) *memory {
	m := &memory{
		changed: make(chan struct{}), pending: map[int]memoryEntry{}, broken: map[flowtest.Breakage]bool{},
	}
	for i, v := range values {
		m.queue = append(m.queue, memoryEntry{id: i, value: v})
	}
	return m
}

func (m *memory) open(opts ...flow.StageOption) flow.Source[int] {
	return flow.NewSource("memory", func() flow.Reader[int] { return memoryReader{m} },
		append([]flow.StageOption{flow.Traits{Redelivers: true, DeadLetters: true}}, opts...)...)
}

type memoryReader struct{ *memory }

func (m memoryReader) Open(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fails(flowtest.FailedOpen)
}

func (m memoryReader) Read(ctx context.Context, in *flow.Intake[int]) error {
	for {
		m.mu.Lock()
		if err := m.fails(flowtest.LostConnection, flowtest.FailedRead); err != nil {
			m.mu.Unlock()
			return err
		}
		for in.Room() > 0 && len(m.queue) > 0 {
			e := m.queue[0]
			m.queue = m.queue[1:]
			e.attempt++
			m.pending[e.id] = e
			in.Add(e.value, flow.Meta{ID: strconv.Itoa(e.id), Attempt: e.attempt}, 0)
		}
		changed := m.changed
		m.mu.Unlock()
		if in.Len() > 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m memoryReader) Commit(_ context.Context, settled []flow.Settlement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails(flowtest.LostConnection, flowtest.FailedCommit); err != nil {
		if m.careless {
			return nil
		}
		return err
	}
	for _, s := range settled {
		id, err := strconv.Atoi(s.ID)
		if err != nil {
			return flow.Permanent(fmt.Errorf("memory: id %q: %w", s.ID, err))
		}
		e := m.pending[id]
		delete(m.pending, id)
		if s.Outcome >= flow.Nacked {
			m.queue = append(m.queue, e)
		}
	}
	m.change()
	return nil
}

func TestSourceOfMemory(t *testing.T) {
	for _, realTime := range []bool{false, true} {
		t.Run(fmt.Sprintf("real=%t", realTime), func(t *testing.T) {
			flowtest.TestSource(t, flowtest.SourceTraits[int]{
				Make: func(i int) int { return i }, Endless: true, Redelivers: true, DeadLetters: true, Resumes: true,
				Real: realTime, Patience: time.Minute,
			}, func(_ *testing.T, values []int) flowtest.SourceBackend[int] {
				m := newMemory(values)
				return flowtest.SourceBackend[int]{Open: m.open, Break: m.damage, Pending: func() (int, error) {
					m.mu.Lock()
					defer m.mu.Unlock()
					return len(m.pending), nil
				}}
			})
		})
	}
}

// bounded is a source that ends, and neither redelivers nor commits.
type bounded struct {
	values []int
	at     int
}

func (b *bounded) Read(_ context.Context, in *flow.Intake[int]) error {
	for ; in.Room() > 0; b.at++ {
		if b.at == len(b.values) {
			return io.EOF
		}
		in.AddValue(b.values[b.at])
	}
	return nil
}

func TestSourceOfValues(t *testing.T) {
	flowtest.TestSource(t, flowtest.SourceTraits[int]{Make: func(i int) int { return i }},
		func(_ *testing.T, values []int) flowtest.SourceBackend[int] {
			return flowtest.SourceBackend[int]{Open: func(opts ...flow.StageOption) flow.Source[int] {
				return flow.NewSource("bounded", func() flow.Reader[int] { return &bounded{values: values} }, opts...)
			}}
		})
}

func TestSinkToMemory(t *testing.T) {
	for _, realTime := range []bool{false, true} {
		t.Run(fmt.Sprintf("real=%t", realTime), func(t *testing.T) {
			traits := flowtest.SinkTraits[int]{
				Make: func(i int) int { return i }, Real: realTime, Patience: time.Minute,
			}
			flowtest.TestSink(t, traits,
				func(*testing.T) flowtest.SinkBackend[int] {
					var mu sync.Mutex
					var written []int
					var broken atomic.Bool
					return flowtest.SinkBackend[int]{
						Open: func(opts ...flow.StageOption) flow.Sink[int] {
							return flow.NewSink("memory", func() flow.Writer[int] {
								return flow.WriterFunc[int](func(_ context.Context, chunk []flow.Message[int]) error {
									if broken.Load() {
										return errors.New("memory: broken")
									}
									mu.Lock()
									defer mu.Unlock()
									for _, m := range chunk {
										written = append(written, m.Value)
									}
									return nil
								})
							}, opts...)
						},
						Written: func() ([]int, error) {
							mu.Lock()
							defer mu.Unlock()
							return append([]int(nil), written...), nil
						},
						Break: func() func() {
							broken.Store(true)
							return func() { broken.Store(false) }
						},
					}
				})
		})
	}
}
