package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// latency measures round trips.
func (e *examination) latency(ctx context.Context) error {
	const tries = 50
	took := make([]time.Duration, 0, tries)
	for range tries {
		start := time.Now()
		if err := e.rdb.Ping(ctx).Err(); err != nil {
			return lost(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	median, most := took[tries/2], took[tries-1]
	f := Finding{Check: "network/latency", Text: fmt.Sprintf("a round trip takes %s; of %d the slowest took %s",
		micro(median), tries, micro(most))}
	switch {
	case median >= 20*time.Millisecond:
		f.Severity = Warning
		f.Fix = "run programs near the server; larger batches and more Pipelines hide some of it"
	case most >= 200*time.Millisecond:
		f.Severity = Note
		f.Fix = "look for slow commands (SLOWLOG GET), forks for snapshots, or a busy host (LATENCY DOCTOR)"
	}
	e.add(f)
	return nil
}

func micro(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

// clock compares the clocks. Times of scheduled entries come from this host's.
func (e *examination) clock(ctx context.Context) error {
	start := time.Now()
	there, err := e.rdb.Time(ctx).Result()
	if err != nil {
		return lost(err) // a missing right is found by rights
	}
	half := time.Since(start) / 2
	ahead := there.Sub(start.Add(half))
	f := Finding{Check: "network/clock", Text: "the clocks of the server and of this host agree"}
	if off := ahead.Abs() - half; off > time.Second {
		f.Severity = Warning
		f.Text = fmt.Sprintf("the server's clock differs by %s from this host's: scheduled entries and deadlines are "+
			"off by as much", ahead.Round(100*time.Millisecond))
		f.Fix = "synchronize both clocks (NTP)"
	}
	e.add(f)
	return nil
}

const blockWait = 300 * time.Millisecond

// blocking finds out whether the server waits when a read asks for it.
func (e *examination) blocking(ctx context.Context) error {
	f := Finding{Check: "network/block", Text: "a read that blocks waits on the server"}
	took, others, err := e.block(ctx)
	switch {
	case fault.NoRight(err) || fault.Judge(err) == fault.Moved:
		return nil // found by others
	case err != nil && !errors.Is(err, redis.Nil):
		f.Severity, f.Detail = Problem, err.Error()
		f.Text = "a read that blocks for 300ms fails: readers can't wait for entries"
		f.Fix = "raise the time limit of the proxy or load balancer in between, or connect directly"
		if ctx.Err() != nil {
			return ctx.Err()
		}
	case took < blockWait/2:
		f.Severity = Warning
		f.Text = fmt.Sprintf("BLOCK is ignored: a read for 300ms returned after %s. Readers then ask ten times a "+
			"second, and entries arrive up to 100ms late", micro(took))
		f.Fix = "connect to Redis directly, not through a proxy that does not block"
	case others > blockWait*2/3:
		if _, others, _ = e.block(ctx); others <= blockWait*2/3 { // the host was busy
			break
		}
		f.Severity = Problem
		f.Text = fmt.Sprintf("a read that blocks holds up others: a PING on another connection took %s meanwhile. "+
			"Each reader delays writes, acks and renewals of leases", micro(others))
		f.Fix = "connect to Redis directly, not through a proxy that shares its connections"
	}
	e.add(f)
	return nil
}

// block reads with BLOCK. It returns how long the read took, and the longest round trip on other
// connections meanwhile.
func (e *examination) block(ctx context.Context) (took, others time.Duration, err error) {
	start, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		args := &redis.XReadArgs{Streams: []string{e.key(), "$"}, Count: 1, Block: blockWait}
		err = e.rdb.XRead(ctx, args).Err()
		took = time.Since(start)
	}()
	one, ok := e.rdb.(*redis.Client)
	for ok && one.Options().PoolSize > 1 && others < blockWait {
		select {
		case <-done:
			return took, others, err
		default:
		}
		asked := time.Now()
		if e.rdb.Ping(ctx).Err() != nil {
			break // the read fails as well, or other checks find it
		}
		others = max(others, time.Since(asked))
	}
	<-done
	return took, others, err
}
