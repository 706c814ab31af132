package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

var lsCommand = command{
	name: "ls", args: "[PATTERN]", max: 1,
	short: "list streams",
	long: "Lists the streams whose keys match a glob pattern (all without one). It scans in small steps, so it " +
		"does not block\nother clients, but many other keys make it slow. A key that is not text is shown as in a " +
		"shell's $'…', such as\norders\\xff; with -json also in keyBase64.",
	examples: []string{"ls", "ls 'orders*'", "ls -json | jq -r .key"},
	flags: func(fs *flag.FlagSet) func(*call) error {
		limit := fs.Int("limit", 10_000, "list at most `n` streams")
		return func(c *call) error { return ls(c, *limit) }
	},
}

func ls(c *call, limit int) error {
	if limit < 1 {
		return usagef("-limit %d: it must be at least 1", limit)
	}
	pattern := ""
	if len(c.args) > 0 {
		pattern = c.args[0]
	}
	var keys []string
	more := false
	for key, err := range admin.Streams(c.ctx, c.rdb, pattern) {
		if err != nil {
			return err
		}
		if len(keys) == limit {
			slices.Sort(keys)
			keys = slices.Compact(keys) // a scan may return a key twice
			if more = len(keys) == limit; more {
				break
			}
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if !c.out.json {
		c.out.row("KEY", "ENTRIES", "GROUPS", "FIRST", "LAST")
	}
	for chunk := range slices.Chunk(keys, 100) {
		states, err := admin.InspectStreams(c.ctx, c.rdb, chunk...)
		if err != nil {
			return err
		}
		for _, s := range states {
			if !s.Exists {
				continue // deleted meanwhile
			}
			if c.out.json {
				if err := c.out.object(struct {
					Key     string `json:"key"`
					Binary  string `json:"keyBase64,omitempty"`
					Entries int64  `json:"entries"`
					Groups  int64  `json:"groups"`
					First   string `json:"first,omitempty"`
					Last    string `json:"last,omitempty"`
				}{s.Key, binary(s.Key), s.Length, s.Groups, s.First, s.Last}); err != nil {
					return err
				}
				continue
			}
			c.out.row(s.Key, num(s.Length), num(s.Groups), s.First, s.Last)
		}
	}
	if more {
		c.note("first %d streams only: narrow the pattern or raise -limit", limit)
	}
	return nil
}

var groupsCommand = command{
	name: "groups", args: "KEY", min: 1, max: 1,
	short: "show the groups of a stream and their consumers",
	long: "Shows each group: its position, how many entries are undelivered (LAG) and unsettled (PENDING), and " +
		"how long\nthe oldest ones have waited; then its consumers. A lag with ≥ is counted, because the server " +
		"does not know it (after\nentries were deleted or a position was set). Before Redis 7.2 a consumer that " +
		"waits for entries looks idle.",
	examples: []string{"groups orders", "groups orders -json"},
	flags: func(*flag.FlagSet) func(*call) error {
		return groups
	},
}

// jsonGroup is a group in JSON. Durations are in milliseconds.
type jsonGroup struct {
	Time       *time.Time     `json:"time,omitempty"`
	Key        string         `json:"key"`
	Binary     string         `json:"keyBase64,omitempty"`
	Group      string         `json:"group"`
	BinaryName string         `json:"groupBase64,omitempty"`
	Lag        int64          `json:"lag"`
	LagAtLeast bool           `json:"lagAtLeast,omitempty"`
	UnreadAge  int64          `json:"oldestUnreadMs"`
	Pending    int64          `json:"pending"`
	Oldest     string         `json:"oldestPending,omitempty"`
	OldestAge  int64          `json:"oldestPendingMs"`
	Position   string         `json:"position"`
	Consumers  []jsonConsumer `json:"consumers"`
}

type jsonConsumer struct {
	Name    string `json:"name"`
	Binary  string `json:"nameBase64,omitempty"`
	Pending int64  `json:"pending"`
	Idle    int64  `json:"idleMs"`
}

func asJSON(key string, g admin.GroupState) jsonGroup {
	j := jsonGroup{
		Key: key, Binary: binary(key), Group: g.Name, BinaryName: binary(g.Name), Lag: g.Lag, LagAtLeast: g.LagAtLeast,
		UnreadAge: g.UnreadAge.Milliseconds(), Pending: g.Pending,
		Oldest: g.Oldest, OldestAge: g.OldestAge.Milliseconds(), Position: g.Delivered, Consumers: []jsonConsumer{},
	}
	for _, m := range g.Members {
		j.Consumers = append(j.Consumers, jsonConsumerOf(m))
	}
	return j
}

func jsonConsumerOf(m admin.ConsumerState) jsonConsumer {
	return jsonConsumer{m.Name, binary(m.Name), m.Pending, m.Idle.Milliseconds()}
}

func groups(c *call) error {
	all, err := admin.Groups(c.ctx, c.rdb, c.args[0])
	if err != nil {
		return err
	}
	if c.out.json {
		for _, g := range all {
			if err := c.out.object(asJSON(c.args[0], g)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		c.note("%q has no groups", c.args[0])
		return nil
	}
	c.out.row("GROUP", "POSITION", "LAG", "OLDEST UNREAD", "PENDING", "OLDEST PENDING", "CONSUMERS")
	for _, g := range all {
		c.out.row(
			g.Name,
			g.Delivered,
			atLeast(g.Lag, g.LagAtLeast),
			shortOf(g.Unread != "", g.UnreadAge),
			num(g.Pending),
			shortOf(g.Oldest != "", g.OldestAge),
			num(g.Consumers),
		)
	}
	c.out.line("")
	c.out.row("GROUP", "CONSUMER", "PENDING", "IDLE")
	for _, g := range all {
		for _, m := range g.Members {
			c.out.row(g.Name, m.Name, num(m.Pending), short(m.Idle))
		}
	}
	return nil
}

var lagCommand = command{
	name: "lag", args: "KEY [GROUP]", min: 1, max: 2,
	short: "show how far groups are behind",
	long: "Shows for each group, or for one, how many entries are undelivered and unsettled, " +
		"and how old the oldest of\n" +
		"both are. With -max it is a check for scripts and probes: it exits with code 3 if a lag is greater.",
	examples: []string{"lag orders", "lag orders billing -watch", "lag orders billing -max 1000 || alert"},
	flags: func(fs *flag.FlagSet) func(*call) error {
		watch := fs.Bool("watch", false, "repeat until Ctrl-C")
		every := fs.Duration("every", 2*time.Second, "with -watch: how often")
		most := fs.Int64("max", -1, "exit with code 3 if a lag is greater than `n`")
		return func(c *call) error { return lag(c, *watch, *every, *most) }
	},
}

func lag(c *call, watch bool, every time.Duration, most int64) error {
	if every < 100*time.Millisecond {
		return usagef("-every %v: at least 100ms", every)
	}
	if watch {
		c.out.wide()
	}
	for n := 0; ; n++ {
		over, err := lagOnce(c, n == 0, watch)
		if err != nil {
			if watch && c.ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !watch {
			if most >= 0 && over > most {
				return fmt.Errorf("%w: a lag of %d is more than %d", errRefused, over, most)
			}
			return nil
		}
		if err := c.out.flush(); err != nil {
			return err
		}
		t := time.NewTimer(every)
		select {
		case <-t.C:
		case <-c.ctx.Done():
			t.Stop()
			return nil // the normal end of watching
		}
	}
}

// lagOnce shows the lag now and returns the greatest.
func lagOnce(c *call, header, watch bool) (greatest int64, err error) {
	all, err := lagging(c)
	if err != nil {
		return 0, err
	}
	if header && !c.out.json {
		c.out.row("TIME", "GROUP", "LAG", "OLDEST UNREAD", "PENDING", "OLDEST PENDING")
	}
	now := time.Now()
	for _, g := range all {
		greatest = max(greatest, g.Lag)
		if c.out.json {
			j := asJSON(c.args[0], g)
			if watch {
				utc := now.UTC()
				j.Time = &utc
			}
			if err := c.out.object(j); err != nil {
				return 0, err
			}
			continue
		}
		c.out.row(
			now.In(c.out.zone).Format("15:04:05Z07:00"),
			g.Name,
			atLeast(g.Lag, g.LagAtLeast),
			shortOf(g.Unread != "", g.UnreadAge),
			num(g.Pending),
			shortOf(g.Oldest != "", g.OldestAge),
		)
	}
	return greatest, nil
}

// lagging returns the requested groups.
func lagging(c *call) ([]admin.GroupState, error) {
	if len(c.args) == 1 {
		return admin.Groups(c.ctx, c.rdb, c.args[0])
	}
	g, err := c.group()
	return []admin.GroupState{g}, err
}

// group returns the group that the arguments name.
func (c *call) group() (admin.GroupState, error) {
	g, err := admin.FindGroup(c.ctx, c.rdb, c.args[0], c.args[1])
	if errors.Is(err, redisio.ErrNoGroup) {
		err = fmt.Errorf("%q has no group %q", c.args[0], c.args[1])
	}
	return g, err
}

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

func pendingAges(c *call) error {
	p, err := admin.PendingByAge(c.ctx, c.rdb, c.args[0], c.args[1])
	if err != nil {
		return err
	}
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
	in := func(b admin.PendingBucket, consumer string) bucket {
		return bucket{
			b.Below.Milliseconds(),
			consumer,
			binary(consumer),
			b.Count,
			b.Oldest,
			b.OldestAge.Milliseconds(),
			b.MaxIdle.Milliseconds(),
			b.MaxDeliveries,
		}
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
			all.Ages = append(all.Ages, in(b, ""))
		}
		for _, name := range names {
			all.Consumers = append(all.Consumers, in(p.Consumers[name], name))
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
	if !c.out.json {
		c.out.row("ID", "CONSUMER", "AGE", "IDLE", "DELIVERIES")
	}
	n := int64(0)
	for e, err := range admin.PendingEntries(c.ctx, c.rdb, c.args[0], c.args[1], consumer) {
		if err != nil {
			return err
		}
		if n++; n > limit {
			c.note("there are more: raise -limit")
			return nil
		}
		if c.out.json {
			if err := c.out.object(struct {
				ID         string `json:"id"`
				Consumer   string `json:"consumer"`
				Binary     string `json:"consumerBase64,omitempty"`
				Age        int64  `json:"ageMs"`
				Idle       int64  `json:"idleMs"`
				Deliveries int64  `json:"deliveries"`
			}{e.ID, e.Consumer, binary(e.Consumer), e.Age.Milliseconds(), e.Idle.Milliseconds(),
				e.Deliveries}); err != nil {
				return err
			}
			continue
		}
		c.out.row(e.ID, e.Consumer, short(e.Age), short(e.Idle), num(e.Deliveries))
	}
	return nil
}

var peekCommand = command{
	name: "peek", args: "KEY", min: 1, max: 1,
	short: "show the last entries of a stream, and follow it",
	long: "Shows entries with all their fields, in order. It reads without a group, so no group's state " +
		"changes.\nValues longer than 500 bytes are cut unless -full is set.",
	examples: []string{
		"peek orders",
		"peek orders -n 1 -full",
		"peek orders -n 0 -follow",
		"peek orders -follow -json | jq .",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		n := fs.Int64("n", 10, "show the last `n` entries, up to 10000")
		follow := fs.Bool("follow", false, "continue with new entries until Ctrl-C")
		full := fs.Bool("full", false, "show complete values")
		return func(c *call) error { return peek(c, *n, *follow, *full) }
	},
}

func peek(c *call, n int64, follow, full bool) error {
	if n < 0 || n > 10_000 {
		return usagef("-n %d: show 0 to 10000", n)
	}
	there, err := c.rdb.Exists(c.ctx, c.args[0]).Result()
	if err == nil && there == 0 && !follow {
		err = fmt.Errorf("there is no stream %q", c.args[0])
	}
	if err != nil {
		return err
	}
	if there == 0 {
		c.note("there is no stream %q yet", c.args[0])
	}
	last, err := peekLast(c, n, full, there > 0)
	if err != nil || !follow {
		return err
	}
	r, err := reader.NewTail(c.rdb, reader.TailConfig{Key: c.args[0], Start: last})
	if err != nil {
		return err
	}
	if err := r.Open(c.ctx); err != nil {
		return err
	}
	defer r.Close(c.ctx)
	for {
		if err := c.out.flush(); err != nil {
			return err
		}
		var b redisio.Batch
		if err := r.Read(c.ctx, 100, 4<<20, &b); c.ctx.Err() != nil {
			return nil // the normal end of following
		} else if err != nil {
			return err
		}
		for _, e := range b.Entries {
			if err := c.entry(e, full); err != nil {
				return err
			}
		}
	}
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
	if c.out.json {
		return c.out.object(struct {
			ID     string      `json:"id"`
			Fields []jsonField `json:"fields"`
		}{e.ID, jsonFields(e.Fields)})
	}
	c.out.line("%s  %s", e.ID, c.out.when(e.Position))
	c.out.fields(e.Fields, full)
	return nil
}
