package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

var pendingCommand = command{
	name: "pending", args: "KEY GROUP", min: 2, max: 2,
	short: "show pending entries, by age and by consumer",
	long: "Counts the pending entries of a group by age (since they were added to the stream) and by consumer. " +
		"Entries that are old\nbut not idle are being handled. Entries idle for longer than the readers' lease " +
		"belong to no live consumer.\n-list shows each entry.",
	examples: []string{
		"pending orders billing",
		"pending orders billing -list -consumer worker-7",
		"pending orders billing -list -limit 5 -json",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		list := fs.Bool("list", false, "list the entries, the oldest first")
		consumer := fs.String("consumer", "", "with -list: only those of this `name`")
		limit := fs.Int64("limit", 100, "with -list: at most `n`")
		return func(c *call) error {
			if *list {
				return pendingList(c, *consumer, *limit)
			}
			if *consumer != "" {
				return usagef("-consumer needs -list")
			}
			return pendingAges(c)
		}
	},
}

// bucket is a range of ages, or a consumer, in JSON.
type bucket struct {
	Below         int64  `json:"belowMs,omitempty"`
	Consumer      string `json:"consumer,omitempty"`
	Binary        string `json:"consumerBase64,omitempty"`
	Count         int64  `json:"count"`
	Oldest        string `json:"oldest,omitempty"`
	OldestAge     int64  `json:"oldestMs"`
	MaxIdle       int64  `json:"maxIdleMs"`
	MaxDeliveries int64  `json:"maxDeliveries"`
}

func bucketOf(b admin.PendingBucket, consumer string) bucket {
	return bucket{b.Below.Milliseconds(), consumer, binary(consumer), b.Count, b.Oldest, b.OldestAge.Milliseconds(),
		b.MaxIdle.Milliseconds(), b.MaxDeliveries}
}

func pendingAges(c *call) error {
	p, err := admin.PendingByAge(c.ctx, c.rdb, c.args[0], c.args[1])
	if err != nil {
		return err
	}
	names := make([]string, 0, len(p.Consumers))
	for name := range p.Consumers {
		names = append(names, name)
	}
	slices.Sort(names)
	if c.out.json {
		all := struct {
			Total     int64    `json:"total"`
			Ages      []bucket `json:"ages"`
			Consumers []bucket `json:"consumers"`
		}{p.Total, []bucket{}, []bucket{}}
		for _, b := range p.Buckets {
			all.Ages = append(all.Ages, bucketOf(b, ""))
		}
		for _, name := range names {
			all.Consumers = append(all.Consumers, bucketOf(p.Consumers[name], name))
		}
		return c.out.object(all)
	}
	cells := func(first string, b admin.PendingBucket) {
		is := b.Count > 0
		deliveries := ""
		if is {
			deliveries = num(b.MaxDeliveries)
		}
		c.out.row(first, num(b.Count), b.Oldest, shortOf(is, b.OldestAge), shortOf(is, b.MaxIdle), deliveries)
	}
	c.out.row("AGE", "PENDING", "OLDEST", "OLDEST AGE", "MAX IDLE", "MAX DELIVERIES")
	from := ""
	for _, b := range p.Buckets {
		if b.Below > 0 {
			from = round(b.Below)
			cells("< "+from, b)
		} else {
			cells("≥ "+from, b)
		}
	}
	if len(names) > 0 {
		c.out.line("")
		c.out.row("CONSUMER", "PENDING", "OLDEST", "OLDEST AGE", "MAX IDLE", "MAX DELIVERIES")
		for _, name := range names {
			cells(name, p.Consumers[name])
		}
	}
	return nil
}

func pendingList(c *call, consumer string, limit int64) error {
	if limit < 1 {
		return usagef("-limit %d: it must be at least 1", limit)
	}
	c.out.row("ID", "CONSUMER", "AGE", "IDLE", "DELIVERIES")
	n := int64(0)
	for e, err := range admin.PendingEntries(c.ctx, c.rdb, c.args[0], c.args[1], consumer) {
		if err != nil {
			return err
		}
		if n++; n > limit {
			c.note("there are more: raise -limit")
			return nil
		}
		c.out.row(e.ID, e.Consumer, short(e.Age), short(e.Idle), num(e.Deliveries))
		err := c.out.object(struct {
			ID         string `json:"id"`
			Consumer   string `json:"consumer"`
			Binary     string `json:"consumerBase64,omitempty"`
			Age        int64  `json:"ageMs"`
			Idle       int64  `json:"idleMs"`
			Deliveries int64  `json:"deliveries"`
		}{e.ID, e.Consumer, binary(e.Consumer), e.Age.Milliseconds(), e.Idle.Milliseconds(), e.Deliveries})
		if err != nil {
			return err
		}
	}
	return nil
}

var peekCommand = command{
	name: "peek", args: "KEY", min: 1, max: 1,
	short: "show the last entries of a stream",
	long: "Shows entries with all their fields, in order, and ends; tail follows. It reads without a group, so no\n" +
		"group's state changes. Values longer than 500 bytes are cut unless -full is set.",
	examples: []string{
		"peek orders",
		"peek orders -n 1 -full",
		"peek orders -n 100 -json | jq .",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		n := fs.Int64("n", 10, "show the last `n` entries, up to 10000")
		full := fs.Bool("full", false, "show complete values")
		return func(c *call) error { return peek(c, *n, *full) }
	},
}

func peek(c *call, n int64, full bool) error {
	if n < 0 || n > 10_000 {
		return usagef("-n %d: show 0 to 10000", n)
	}
	there, err := c.rdb.Exists(c.ctx, c.args[0]).Result()
	if err == nil && there == 0 {
		err = fmt.Errorf("there is no stream %q", c.args[0])
	}
	if err != nil {
		return err
	}
	_, err = peekLast(c, n, full, true)
	return err
}

// peekLast shows the last n entries and returns where to continue.
func peekLast(c *call, n int64, full, there bool) (redisio.Start, error) {
	first, last, err := ends(c, max(n, 1))
	if err != nil {
		return redisio.Start{}, err
	}
	switch {
	case last.IsZero() && n > 0:
		if there {
			c.note("%q has no entries", c.args[0])
		}
		return redisio.StartBeginning(), nil
	case last.IsZero() || n == 0:
		return redisio.StartID(last), nil
	}
	r, err := reader.NewRange(c.rdb, reader.RangeConfig{Key: c.args[0], From: first, To: last})
	if err != nil {
		return redisio.Start{}, err
	}
	if err := r.Open(c.ctx); err != nil {
		return redisio.Start{}, err
	}
	for {
		var b redisio.Batch
		if err := r.Read(c.ctx, 100, 4<<20, &b); errors.Is(err, io.EOF) {
			return redisio.StartID(last), nil
		} else if err != nil {
			return redisio.Start{}, err
		}
		for _, e := range b.Entries {
			if err := c.entry(e, full); err != nil {
				return redisio.Start{}, err
			}
		}
	}
}

// ends returns the IDs of the first and the last of the last n entries. It reads small pages,
// because entries may be large, and uses only the IDs, because go-redis loses the order and the
// duplicates of fields.
func ends(c *call, n int64) (first, last redisio.ID, err error) {
	most := int64(50)
	for to := "+"; n > 0; {
		page, err := c.rdb.XRevRangeN(c.ctx, c.args[0], to, "-", min(n, most)).Result()
		if err != nil && most > 1 && c.ctx.Err() == nil && !redisio.IsPermanent(err) {
			most = 1 // the reply may exceed what the server sends
			continue
		}
		if err != nil {
			return first, last, fmt.Errorf("read %q: %w", c.args[0], err)
		}
		for _, m := range page {
			if first, err = redisio.ParseID(m.ID); err != nil {
				return first, last, err
			}
			if last.IsZero() {
				last = first
			}
		}
		if n -= int64(len(page)); int64(len(page)) < most || first.Prev() == first {
			break
		}
		to = first.Prev().String()
	}
	return first, last, nil
}

// entry shows an entry with its fields.
func (c *call) entry(e redisio.Entry, full bool) error {
	again := ""
	if e.Deliveries > 1 {
		again = fmt.Sprintf("  delivery %d", e.Deliveries)
	}
	c.out.line("%s  %s%s", e.ID, c.out.when(e.Position), again)
	c.out.fields(e.Fields, full)
	return c.out.object(struct {
		ID         string      `json:"id"`
		Deliveries int64       `json:"deliveries,omitempty"` // with a group
		Fields     []jsonField `json:"fields"`
	}{e.ID, e.Deliveries, jsonFields(e.Fields)})
}
