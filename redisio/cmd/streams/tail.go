package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/reader"
)

var tailCommand = command{
	name: "tail", args: "KEY", min: 1, max: 1,
	short: "follow a stream, alone or as a member of a group",
	long: "Shows the last entries of a stream, then new ones until Ctrl-C. It reads without a group, so no group's " +
		"state\nchanges. With -json each entry is one line, which produce -input json accepts.\n\n" +
		"With -group it joins the group, as one more worker does: it takes entries that no other member receives\n" +
		"then, and those of members that died. It acks an entry when it is printed. So an entry is not lost if the\n" +
		"output fails, but no program handles it. It asks first if the group has other members, unless -yes is set.\n" +
		"Ctrl-C gives back what is not printed. With -peek it does not join: it shows the entries that the group\n" +
		"has not read yet and follows, and the group's members receive them all the same.",
	examples: []string{
		"tail orders",
		"tail orders -n 0 -json | jq .fields",
		"tail orders -from 2h -full",
		"tail orders -group billing -peek",
		"tail orders -group debug -create -count 1",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var f following
		fs.Int64Var(&f.n, "n", 10, "begin with the last `n` entries, up to 10000")
		fs.StringVar(&f.from, "from", "", "begin at this `position` instead: start, end, "+whenHelp)
		fs.Int64Var(&f.count, "count", 0, "end after `n` entries besides those of -n (default: follow)")
		fs.BoolVar(&f.full, "full", false, "show complete values")
		fs.StringVar(&f.group, "group", "", "join the group of this `name` and ack what is printed")
		fs.BoolVar(&f.peek, "peek", false, "with -group: show what it has not read, without joining it")
		fs.BoolVar(
			&f.create,
			"create",
			false,
			"with -group: create the group at -from (default start) if it is missing",
		)
		fs.DurationVar(&f.lease, "lease", 30*time.Second, "with -group: the lease of its other readers")
		fs.BoolVar(&f.yes, "yes", false, "don't ask")
		return func(c *call) error {
			given := make(map[string]bool)
			fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
			if err := f.check(given); err != nil {
				return err
			}
			return f.run(c)
		}
	},
}

// following is one run of tail.
type following struct {
	n, count           int64
	from, group        string
	peek, create, full bool
	lease              time.Duration
	yes                bool
}

// check checks the flags.
func (f *following) check(given map[string]bool) error {
	joins := f.group != "" && !f.peek
	switch {
	case f.n < 0 || f.n > 10_000:
		return usagef("-n %d: begin with 0 to 10000", f.n)
	case f.count < 0:
		return usagef("-count %d: it must be at least 1", f.count)
	case given["n"] && (given["from"] || given["group"]):
		return usagef("-n can not be combined with -from or -group, which begin elsewhere")
	case f.peek && f.group == "":
		return usagef("-peek needs -group")
	case given["from"] && f.group != "" && !f.create:
		return usagef("-from can not be combined with -group, which has a position; -create begins there")
	case !joins && (f.create || given["lease"]):
		return usagef("-create and -lease need -group, without -peek")
	}
	return nil
}

// follower is implemented by all readers.
type follower interface {
	Open(ctx context.Context) error
	Read(ctx context.Context, count int, maxBytes int64, b *redisio.Batch) error
	Close(ctx context.Context) error
}

func (f *following) run(c *call) error {
	var r follower
	ack := func(context.Context, []redisio.Entry) error { return nil }
	if f.group != "" && !f.peek {
		g, err := f.member(c)
		if err != nil {
			return err
		}
		r, ack = g, func(ctx context.Context, printed []redisio.Entry) error { return settle(ctx, g, printed) }
	} else {
		start, err := f.start(c)
		if err != nil {
			return err
		}
		cfg := reader.TailConfig{Key: c.args[0], Start: start, OnEvent: c.event}
		if r, err = reader.NewTail(c.rdb, cfg); err != nil {
			return err
		}
	}
	if err := r.Open(c.ctx); err != nil {
		return err
	}
	whole := context.WithoutCancel(c.ctx) // an interrupt must not break what has begun
	defer func() {
		ctx, cancel := context.WithTimeout(whole, 5*time.Second)
		defer cancel()
		_ = r.Close(ctx) // what it could not give back is taken over when its lease ends
	}()
	for left := f.count; f.count == 0 || left > 0; {
		most := 100
		if f.count > 0 {
			most = int(min(100, left))
		}
		if err := c.out.flush(); err != nil {
			return err
		}
		var b redisio.Batch
		if err := r.Read(c.ctx, most, 4<<20, &b); c.ctx.Err() != nil {
			return nil // the normal end of following
		} else if err != nil {
			return err
		}
		for _, e := range b.Entries {
			if err := c.entry(e, f.full); err != nil {
				return err
			}
		}
		if err := c.out.flush(); err != nil {
			return err
		}
		if err := ack(whole, b.Entries); err != nil {
			return err
		}
		left -= int64(len(b.Entries))
	}
	return nil
}

// settle acks entries that are printed.
func settle(ctx context.Context, g *reader.Group, printed []redisio.Entry) error {
	var ids []string
	for _, e := range printed {
		if !e.Withheld { // else its fields are not printed
			ids = append(ids, e.ID)
		}
	}
	_, err := g.Ack(ctx, ids)
	return err
}

// member returns a reader that is a member of the group.
func (f *following) member(c *call) (*reader.Group, error) {
	cfg := reader.GroupConfig{Key: c.args[0], Group: f.group, OnEvent: c.event}
	cfg.Lease, cfg.DelayedEvery, cfg.ReapAfter, cfg.OnLostGroup = f.lease, -1, -1, reader.LostGroupFail
	if f.from != "" {
		start, err := position(f.from, c.now, c.out.zone)
		if err != nil {
			return nil, err
		}
		cfg.Start = start
	}
	if err := cfg.Validate(); err != nil {
		return nil, usageError(err.Error())
	}
	if f.create {
		return reader.NewGroup(c.rdb, cfg)
	}
	c.args = append(c.args[:1:1], f.group)
	group, err := c.group()
	if err != nil {
		return nil, fmt.Errorf("%w; -create makes the group", err)
	}
	if others := members(group); others > 0 && !f.yes {
		if err := c.confirm(fmt.Sprintf("Group %q has %s, which will not receive what this takes and acks. Join?",
			f.group, plural(others, "member", "members"))); err != nil {
			return nil, err
		}
	}
	return reader.NewGroup(c.rdb, cfg)
}

// members counts the consumers of a group, without those that hold entries for all.
func members(g admin.GroupState) (n int64) {
	for _, m := range g.Members {
		if m.Name != redisio.SuspectsConsumer && m.Name != redisio.ReleasedConsumer {
			n++
		}
	}
	return n
}

// start returns where to begin without a group, and shows the last entries before that.
func (f *following) start(c *call) (redisio.Start, error) {
	switch {
	case f.peek:
		c.args = append(c.args[:1:1], f.group)
		g, err := c.group()
		if err != nil {
			return redisio.Start{}, err
		}
		at, err := redisio.ParseID(g.Delivered)
		return redisio.StartID(at), err
	case f.from != "":
		return position(f.from, c.now, c.out.zone)
	}
	there, err := c.rdb.Exists(c.ctx, c.args[0]).Result()
	if err != nil {
		return redisio.Start{}, err
	}
	if there == 0 {
		c.note("there is no stream %q yet: waiting for its first entry", c.args[0])
	}
	return peekLast(c, f.n, f.full, there > 0)
}

// event notes what a reader reports, if people should know it.
func (c *call) event(e redisio.Event) {
	switch e.Kind {
	case redisio.EventReconnecting, redisio.EventRefused:
		c.note("%s: %v", e.Kind, e.Err)
	case redisio.EventReconnected, redisio.EventStreamRecreated, redisio.EventWithheld:
		c.note("%s", e.Kind)
	}
}
