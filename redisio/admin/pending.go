package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// PendingEntry is an entry that was delivered to a consumer and is not settled.
type PendingEntry struct {
	ID         string
	Consumer   string        // "" if it was released
	Age        time.Duration // since it was added to the stream, by its ID
	Idle       time.Duration // since it was delivered, or its lease renewed
	Deliveries int64
}

// PendingEntries iterates over the pending entries of a group, oldest first, in pages of a
// thousand. An empty consumer means all. It changes nothing. An error is the last element.
func PendingEntries(
	ctx context.Context,
	rdb redis.UniversalClient,
	key, group, consumer string,
) iter.Seq2[PendingEntry, error] {
	return func(yield func(PendingEntry, error) bool) {
		if err := errors.Join(check.NeedClient(rdb, "PendingEntries"),
			check.NeedKey("PendingEntries", key)); err != nil {
			yield(PendingEntry{}, err)
			return
		}
		now := serverTime(ctx, rdb)
		for from := (redisio.ID{}); ; {
			page, err := rdb.XPendingExt(ctx, &redis.XPendingExtArgs{
				Stream: key, Group: group, Start: from.String(), End: "+", Count: script.PageSize, Consumer: consumer,
			}).Result()
			if err != nil && !errors.Is(err, redis.Nil) {
				yield(
					PendingEntry{},
					check.KeyError(fmt.Sprintf("list pending entries of group %q of", group), key, err),
				)
				return
			}
			for _, p := range page {
				e := PendingEntry{p.ID, p.Consumer, age(p.ID, now), max(0, p.Idle), p.RetryCount}
				if !yield(e, nil) {
					return
				}
			}
			if len(page) < script.PageSize {
				return
			}
			last, err := redisio.ParseID(page[len(page)-1].ID)
			if err == nil && last == redisio.MaxID {
				return
			}
			if err != nil {
				yield(PendingEntry{}, err)
				return
			}
			from = last.Next()
		}
	}
}

// PendingAges has the numbers of pending entries by age and by consumer.
type PendingAges struct {
	Total     int64
	Buckets   []PendingBucket
	Consumers map[string]PendingBucket // by name
}

// PendingBucket is some of the pending entries.
type PendingBucket struct {
	Below         time.Duration // age; 0: no bound
	Count         int64
	Oldest        string        // ID
	OldestAge     time.Duration // since it was added
	MaxIdle       time.Duration // longest without a delivery or a renewal of the lease
	MaxDeliveries int64
}

func (b *PendingBucket) Add(e PendingEntry) {
	if b.Count == 0 {
		b.Oldest, b.OldestAge = e.ID, e.Age
	}
	b.Count++
	b.MaxIdle, b.MaxDeliveries = max(b.MaxIdle, e.Idle), max(b.MaxDeliveries, e.Deliveries)
}

var defaultAges = []time.Duration{
	10 * time.Second,
	time.Minute,
	10 * time.Minute,
	time.Hour,
	6 * time.Hour,
	24 * time.Hour,
}

// PendingByAge returns how many pending entries a group has in each range of ages. Each bound ends
// a bucket, and one more bucket has the rest. The bounds default to 10 s, 1 min, 10 min, 1 h, 6 h
// and 24 h. It reads all pending entries.
func PendingByAge(
	ctx context.Context,
	rdb redis.UniversalClient,
	key, group string,
	bounds ...time.Duration,
) (PendingAges, error) {
	if len(bounds) == 0 {
		bounds = defaultAges
	}
	p := PendingAges{Consumers: make(map[string]PendingBucket)}
	for i, d := range bounds {
		if d <= 0 || i > 0 && d <= bounds[i-1] {
			return p, &redisio.ConfigError{
				Type:    "PendingByAge",
				Field:   "bounds",
				Problem: fmt.Sprintf("are %v", bounds),
				Fix:     "let them be positive and grow",
			}
		}
		p.Buckets = append(p.Buckets, PendingBucket{Below: d})
	}
	p.Buckets = append(p.Buckets, PendingBucket{})
	for e, err := range PendingEntries(ctx, rdb, key, group, "") {
		if err != nil {
			return p, err
		}
		p.Total++
		i, exact := slices.BinarySearch(bounds, e.Age)
		if exact {
			i++
		}
		p.Buckets[i].Add(e)
		c := p.Consumers[e.Consumer]
		c.Add(e)
		p.Consumers[e.Consumer] = c
	}
	return p, nil
}
