package projection

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio/eventstore"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/view"
)

// The view is rebuilt while events are written and read. The new build equals the old one, and
// readers see one of them whole, and never an older state than before.
func TestRebuild(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, 2)
	p := newProjection(t, rdb, s, func(c *Config[paid]) { c.Grace = time.Minute })
	pay(t, s, "ann", 100)
	pay(t, s, "bob", 100)
	runs(t, p)
	settled(t, p)
	ctx, stop := context.WithCancel(testCtx(t))
	var all sync.WaitGroup
	for _, a := range []string{"ann", "bob"} {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Append(testCtx(t), a, eventstore.Any, paid{Amount: 1}); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			last := int64(0)
			for ctx.Err() == nil {
				k, err := p.Live(testCtx(t))
				if err != nil {
					t.Error(err)
					return
				}
				pipe := rdb.TxPipeline() // one moment
				part := s.Partition(a)
				count := pipe.HGet(testCtx(t), k.Key(part, "count"), a)
				list := pipe.LLen(testCtx(t), k.Key(part, "list:"+a))
				if _, err := pipe.Exec(testCtx(t)); err != nil {
					t.Error(a, k.Build, err)
					return
				}
				n, _ := count.Int64()
				if n != list.Val() || n < max(last, 100) {
					t.Errorf("build %s of %s counts %d after %d, and lists %d", k.Build, a, n, last, list.Val())
				}
				last = n
			}
		})
	}
	for n := 2; n < 5; n++ {
		b, err := p.Rebuild(testCtx(t))
		if err != nil || b != view.Build(fmt.Sprint("1.", n)) {
			t.Errorf("build %q, %v", b, err)
		}
		redistest.Soon(t, "the rebuilt view is live", func() bool { return live(t, p).Build == b })
	}
	stop()
	all.Wait()
	settled(t, p)
	right(t, rdb, s, live(t, p), "ann", "bob")
}

// Without an automatic switch, the next build is observed, compared and switched by hand.
func TestSwitch(t *testing.T) {
	rdb, ctx := redistest.Shared(t).Client(t), testCtx(t)
	s := newStore(t, rdb, 1)
	p := newProjection(t, rdb, s, func(c *Config[paid]) { c.ManualSwitch = true })
	pay(t, s, "ann", 150)
	r := runs(t, p)
	settled(t, p)
	if err := p.Switch(ctx); !errors.Is(err, view.ErrNoBuild) {
		t.Errorf("nothing to switch to: %v", err)
	}
	if err := p.Abandon(ctx); !errors.Is(err, view.ErrNoBuild) {
		t.Errorf("nothing to abandon: %v", err)
	}
	_ = r.Stop()
	b, err := p.Rebuild(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Rebuild(ctx); !errors.Is(err, view.ErrBuilding) {
		t.Errorf("twice: %v", err)
	}
	var behind *BehindError
	if err := p.Switch(ctx); !errors.As(err, &behind) || behind.Behind != 150 || !errors.Is(err, ErrBehind) {
		t.Errorf("no process computes it: %v", err)
	}
	now, err := p.Progress(ctx)
	if err != nil || now.Next == nil || now.Next.Share() != 0 || now.Live.Share() != 1 {
		t.Errorf("progress %+v, %v", now, err)
	}
	runs(t, p)
	redistest.Soon(t, "the next build has caught up", func() bool {
		now, err := p.Progress(ctx)
		return err == nil && now.Next != nil && now.Next.Behind == 0
	})
	right(t, rdb, s, p.view.Of(b), "ann")
	if k := live(t, p); k.Build != "1.1" {
		t.Errorf("%s is live", k.Build)
	}
	if err := p.Switch(ctx); err != nil {
		t.Fatal(err)
	}
	key, err := p.Key(ctx, "ann", "sum")
	if err != nil || !strings.Contains(key, ":1.2:") {
		t.Errorf("key %s, %v", key, err)
	}
	redistest.Soon(t, "the old build is dropped", func() bool {
		keys, err := rdb.Keys(ctx, s.Tag(0)+"v:sums:1.1:*").Result()
		return err == nil && len(keys) == 0
	})
	state := s.Tag(0) + "v:sums:1.1"
	if ttl := rdb.PTTL(ctx, state).Val(); ttl <= 0 || ttl > time.Hour {
		t.Errorf("the state of a dropped build is kept for %v", ttl)
	}
	if _, err := p.view.Claim(ctx, "1.1", 0, "zombie"); !errors.Is(err, view.ErrDropped) {
		t.Errorf("a claim of a dropped build: %v", err)
	}
	if _, err = p.Rebuild(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.Abandon(ctx); err != nil {
		t.Error(err)
	}
}

// A process of a new version builds the view next to the live one, which the old version computes.
// A process of the old version that starts later leaves it alone.
func TestNewVersion(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, 1)
	pay(t, s, "ann", 50)
	v1 := newProjection(t, rdb, s)
	old := runs(t, v1)
	settled(t, v1)
	v2 := newProjection(t, rdb, s, func(c *Config[paid]) {
		c.Version = 2
		c.Apply = func(ctx context.Context, tx *view.Tx, e eventstore.Event[paid]) error {
			e.Value.Amount *= 10
			return apply(ctx, tx, e)
		}
	})
	runs(t, v2)
	redistest.Soon(t, "version 2 is live", func() bool { return live(t, v1).Build.Version() == 2 })
	_ = old.Stop()
	runs(t, v1)
	pay(t, s, "ann", 50)
	settled(t, v2)
	if k := live(t, v1); k.Build != "2.2" {
		t.Errorf("%s is live", k.Build)
	}
	if got := rdb.HGet(testCtx(t), live(t, v1).Key(0, "sum"), "ann").Val(); got != "25500" {
		t.Errorf("the sum is %s", got)
	}
}
