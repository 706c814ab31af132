package relay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// model has the written entries, in order.
type model struct {
	mu      sync.Mutex
	entries []written
	more    chan struct{} // closed when entries were added
	done    chan struct{} // closed when all are written
}

// add calls write and adds the entries it wrote. The lock hides the state in between.
func (m *model) add(write func() []written) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(m.entries, write()...)
	close(m.more)
	m.more = make(chan struct{})
}

// after waits until entries were added n times more, or all are written.
func (m *model) after(n int) {
	for range n {
		m.mu.Lock()
		more := m.more
		m.mu.Unlock()
		select {
		case <-more:
		case <-m.done:
			return
		}
	}
}

type written struct {
	id    redisio.ID
	topic int
	text  string
}

func id(t testing.TB, s string) redisio.ID {
	t.Helper()
	v, err := redisio.ParseID(s)
	if err != nil {
		t.Error(err)
	}
	return v
}

// TestChaos runs listeners of all kinds on a stream that is written and trimmed, behind a network
// that breaks. Each item they receive must be the next one of their topics, or a gap must cover the
// skipped ones. RELAY_SEED sets the seed.
func TestChaos(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("RELAY_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("RELAY_SEED=%d", seed)
	const topics, entries, clients = 4, 3000, 24
	s := newStand(t)
	p := redistest.StartProxy(t, redistest.Shared(t).Addr())
	cfg := s.config()
	cfg.Queue, cfg.Page, cfg.Recent = 16, 8, 32
	r := relay.New(p.Client(t), cfg)
	start(t, r)
	m := &model{more: make(chan struct{}), done: make(chan struct{})}

	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range clients {
		wg.Go(func() {
			c := client{
				t:        t,
				r:        r,
				m:        m,
				rng:      rand.New(rand.NewPCG(seed, uint64(i+100))),
				overflow: []relay.Overflow{relay.Pause, relay.DropOldest, relay.Close}[i%3],
			}
			c.topic = c.rng.IntN(topics + 1) // one more: all of them
			c.run(i)
		})
	}
	func() { // the writer
		defer close(m.done)
		defer p.CutRandomly(0, 0)
		rng := rand.New(rand.NewPCG(seed, 1))
		for n := 0; n < entries; {
			pipe := s.rdb.TxPipeline()
			var batch []written
			var ids []*redis.StringCmd
			for range 1 + rng.IntN(20) {
				w := written{topic: rng.IntN(topics), text: fmt.Sprint(n)}
				n++
				args := redistest.Entry(s.key, "topics", fmt.Sprint(w.topic), "text", w.text)
				if rng.IntN(50) == 0 {
					args.MaxLen = int64(rng.IntN(60))
				}
				batch, ids = append(batch, w), append(ids, pipe.XAdd(context.Background(), args))
			}
			m.add(func() []written { // listeners may receive them before the test knows their IDs
				if _, err := pipe.Exec(context.Background()); err != nil {
					t.Error(err)
				}
				for i := range batch {
					batch[i].id = id(t, ids[i].Val())
				}
				return batch
			})
			before := p.Counts()
			switch rng.IntN(60) {
			case 0:
				p.CutAll()
			case 1:
				p.SetDown(true)
				p.CutAll()
				redistest.Soon(
					t,
					"the relay finds the server away",
					func() bool { return p.Counts().Refused > before.Refused },
				)
				p.SetDown(false)
			case 2:
				p.CutRandomly(rng.Uint64(), 0.02)
			case 3:
				p.CutRandomly(0, 0)
			default:
				asked := before.Requests + rng.IntN(3)
				redistest.Soon(t, "the relay asks for more", func() bool { return p.Counts().Requests >= asked })
			}
		}
	}()
	wg.Wait()
	c := r.Counts()
	t.Logf("%+v", c)
	if c.Gaps == 0 || c.Pages == 0 || c.Entries == 0 {
		t.Error("it was not chaotic enough to show anything")
	}
}

// client listens, disconnects and resumes.
type client struct {
	t        *testing.T
	r        *relay.Relay[string]
	m        *model
	rng      *rand.Rand
	overflow relay.Overflow
	topic    int
	at       redisio.ID // its last cursor
	fresh    bool       // it started at the beginning and has received nothing yet
	items    int
	covered  int // missed entries that gaps reported
}

func (c *client) wants(w written) bool { return c.topic == 4 || w.topic == c.topic }

// expect checks that no entry for the client lies between its cursor and to, and moves the cursor
// there.
func (c *client) expect(who int, end redisio.ID, strict bool) int {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	n := 0
	for _, w := range c.m.entries {
		if c.wants(w) && w.id.Compare(c.at) > 0 && w.id.Compare(end) < 0 {
			n++
			if strict && !c.fresh {
				c.t.Errorf("client %d: %s (%v) is missing between %v and %v", who, w.text, w.id, c.at, end)
			}
		}
	}
	return n
}

func (c *client) run(who int) {
	from := "0" // the beginning of the existing entries, without a gap for trimmed ones
	for {
		o := relay.Options{From: from, Overflow: c.overflow, Idle: 50 * time.Millisecond}
		if o.All = c.topic == 4; !o.All {
			o.Topics = []string{fmt.Sprint(c.topic)}
		}
		l, err := within(func(ctx context.Context) (*relay.Listener[string], error) { return c.r.Listen(ctx, o) })
		if err != nil {
			c.t.Errorf("client %d: listen: %v", who, err)
			return
		}
		c.fresh = from == "0"
		over := c.session(l, who)
		l.Close()
		if over {
			return
		}
		from = c.at.String()
	}
}

// within limits each step of a client, because all of them together may take long on a busy machine.
func within[V any](step func(context.Context) (V, error)) (V, error) {
	ctx, cancel := context.WithTimeout(context.Background(), redistest.Patience)
	defer cancel()
	return step(ctx)
}

// session ends when the client disconnects, or when it has received everything. over is true in the
// second case.
func (c *client) session(l *relay.Listener[string], who int) (over bool) {
	for range 1 + c.rng.IntN(60) {
		written := false
		select {
		case <-c.m.done:
			written = true
		default:
		}
		b, err := within(l.Next)
		switch {
		case errors.Is(err, relay.ErrTooSlow) && c.overflow == relay.Close:
			return false
		case err != nil:
			c.t.Errorf("client %d: next: %v", who, err)
			return true
		}
		if b.Gap != nil {
			from, to := id(c.t, b.Gap.From), id(c.t, b.Gap.To)
			if from.Compare(c.at) > 0 {
				c.expect(who, from.Next(), true)
			}
			n := c.expect(who, to.Next(), false)
			c.covered += n
			if b.Gap.Missed >= 0 && n > b.Gap.Missed {
				c.t.Errorf("client %d: gap %+v covers %d", who, *b.Gap, n)
			}
			if to.Compare(c.at) > 0 {
				c.at = to
			}
			c.fresh = false
		}
		for _, it := range b.Items {
			next := id(c.t, it.Cursor)
			if next.Compare(c.at) <= 0 {
				c.t.Errorf("client %d: %s (%v) came after %v", who, it.Value, next, c.at)
			}
			c.expect(who, next, true)
			c.at, c.fresh = next, false
			c.items++
		}
		if cur := id(c.t, b.Cursor); cur.Compare(c.at) > 0 {
			c.expect(who, cur.Next(), true)
			c.at, c.fresh = cur, false
		}
		c.m.mu.Lock()
		last := c.m.entries[max(0, len(c.m.entries)-1):]
		c.m.mu.Unlock()
		if written && len(last) == 1 && c.at.Compare(last[0].id) >= 0 {
			return true
		}
		if c.rng.IntN(8) == 0 { // a slow reader
			c.m.after(1 + c.rng.IntN(20))
		}
	}
	return false
}
