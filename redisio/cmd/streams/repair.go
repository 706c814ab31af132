package main

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

var resetCommand = command{
	name: "reset", args: "KEY GROUP -to POSITION", min: 2, max: 2,
	short: "set a group's position, to read again or to skip",
	long: "Sets the position of a group: what lies behind it is delivered, again or for the first time, and nothing before it. It is\n" +
		"refused while consumers of the group live: stop them first, or use -force. Pending entries stay with their consumers,\n" +
		"unless -pending says to release them (any reader may have them at once) or to drop them (settled as if done).",
	examples: []string{"reset orders billing -to start -dry-run", "reset orders billing -to 2h", "reset orders billing -to 1732360000000-0", "reset orders billing -to end -pending drop"},
	flags: func(fs *flag.FlagSet) func(*call) error {
		to := fs.String("to", "", "the `position`: start, end, "+whenHelp+" (the last one delivered)")
		pending := fs.String("pending", "keep", "what becomes of pending entries: keep, release or drop")
		var o redisio.ResetOptions
		fs.BoolVar(&o.DryRun, "dry-run", false, "only tell what would happen")
		fs.BoolVar(&o.Force, "force", false, "although consumers live")
		fs.DurationVar(&o.Live, "live", 30*time.Second, "a consumer that is idle for less counts as alive")
		return func(c *call) error {
			if *to == "" {
				return usagef("where to? say -to start, end, a time or an ID")
			}
			start, err := position(*to, time.Now())
			if err != nil {
				return err
			}
			choices := map[string]redisio.PendingChoice{"keep": redisio.KeepPending, "release": redisio.ReleasePending, "drop": redisio.DropPending}
			choice, ok := choices[*pending]
			if !ok {
				return usagef("-pending %q: write keep, release or drop", *pending)
			}
			o.Pending = choice
			if err := o.Validate(); err != nil || o.Live == 0 {
				return usagef("-live %v: let it be more than 0; -force goes on regardless", o.Live)
			}
			return reset(c, start, o, *pending)
		}
	},
}

func reset(c *call, to redisio.Start, o redisio.ResetOptions, pending string) error {
	plan, err := redisio.Reset(c.ctx, c.rdb, c.args[0], c.args[1], to, o)
	if err != nil {
		return err
	}
	if c.out.json {
		live := []string{}
		for _, m := range plan.Live {
			live = append(live, m.Name)
		}
		return c.out.object(struct {
			DryRun  bool     `json:"dryRun,omitempty"`
			From    string   `json:"from"`
			To      string   `json:"to"`
			Again   int64    `json:"again"`
			Skipped int64    `json:"skipped"`
			AtLeast bool     `json:"atLeast,omitempty"`
			Pending int64    `json:"pending"`
			Settled int64    `json:"settled"`
			Live    []string `json:"live"`
		}{o.DryRun, plan.From.String(), plan.To.String(), plan.Again, plan.Skipped, plan.AtLeast, plan.Pending, plan.Settled, live})
	}
	did := func(would, has string) string {
		if o.DryRun {
			return would
		}
		return has
	}
	c.out.line("%s from %s to %s", did("would go", "went"), plan.From, plan.To)
	switch {
	case plan.Again > 0:
		c.out.line("%s %s delivered again", atLeast(plan.Again, plan.AtLeast),
			pick(plan.Again, did("entry would be", "entry is"), did("entries would be", "entries are")))
	case plan.Skipped > 0:
		c.out.line("%s %s skipped", atLeast(plan.Skipped, plan.AtLeast),
			pick(plan.Skipped, did("entry would be", "entry is"), did("entries would be", "entries are")))
	default:
		c.out.line("no entries lie between")
	}
	switch {
	case plan.Pending == 0:
	case o.Pending == redisio.KeepPending:
		c.out.line("%s with their consumers", counted(plan.Pending, "pending entry stays", "pending entries stay"))
	case o.DryRun:
		c.out.line("would %s %s", pending, counted(plan.Pending, "pending entry", "pending entries"))
	default:
		c.out.line("%s %s", map[string]string{"release": "released", "drop": "dropped"}[pending],
			counted(plan.Settled, "pending entry", "pending entries"))
	}
	if n := len(plan.Live); n > 0 && o.DryRun && !o.Force {
		names := make([]string, 0, 5)
		for _, m := range plan.Live[:min(n, 5)] {
			names = append(names, escape(m.Name, 0))
		}
		c.out.line("it would be refused now: %s (%s); stop what lives first, or use -force",
			counted(n, "consumer lives", "consumers live"), strings.Join(names, ", "))
	}
	return nil
}

var reapCommand = command{
	name: "reap", args: "KEY GROUP", min: 2, max: 2,
	short:    "delete consumers of the past that have nothing pending",
	long:     "Deletes the consumers of a group that were idle for long and have nothing pending: what is pending is never lost.",
	examples: []string{"reap orders billing -dry-run", "reap orders billing -idle 24h"},
	flags: func(fs *flag.FlagSet) func(*call) error {
		idle := fs.Duration("idle", time.Hour, "for how long they were idle, a second at least")
		dry := fs.Bool("dry-run", false, "only list them")
		return func(c *call) error { return reap(c, *idle, *dry) }
	},
}

func reap(c *call, idle time.Duration, dry bool) error {
	if idle < time.Second {
		return usagef("-idle %v: a second at least", idle)
	}
	if dry {
		all, err := redisio.Groups(c.ctx, c.rdb, c.args[0])
		if err != nil {
			return err
		}
		for _, g := range all {
			if g.Name != c.args[1] {
				continue
			}
			for _, m := range g.Members {
				if m.Pending > 0 || m.Idle < idle {
					continue
				}
				if c.out.json {
					if err := c.out.object(jsonConsumer{m.Name, m.Pending, m.Idle.Milliseconds()}); err != nil {
						return err
					}
					continue
				}
				c.out.line("would delete %s, idle for %s", escape(m.Name, 0), short(m.Idle))
			}
			return nil
		}
		return fmt.Errorf("%q has no group %q", c.args[0], c.args[1])
	}
	n, err := redisio.Reap(c.ctx, c.rdb, c.args[0], c.args[1], idle)
	if err != nil {
		return err
	}
	if c.out.json {
		return c.out.object(struct {
			Reaped int64 `json:"reaped"`
		}{n})
	}
	c.out.line("deleted %s", counted(n, "consumer", "consumers"))
	return nil
}

var trimCommand = command{
	name: "trim", args: "KEY", min: 1, max: 1,
	short:    "drop old entries that all groups are done with",
	long:     "Drops entries that every group of the stream has read and settled, and no others: what is pending or not delivered stays.\nA stream without groups is trimmed only with -before.",
	examples: []string{"trim orders", "trim orders -before 168h", "trim orders -before 1732360000000-0 -exact -yes"},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var before timeFlag
		fs.Var(&before, "before", "only entries from before `when`: "+whenHelp)
		exact := fs.Bool("exact", false, "to the entry: the default keeps some more, which is cheaper for the server")
		yes := fs.Bool("yes", false, "don't ask")
		return func(c *call) error {
			o := redisio.TrimOptions{Exact: *exact}
			what := "all that every group is done with"
			if !before.IsZero() {
				o.Before = redisio.IDAt(before.Time)
				what = "what is older than " + before.UTC().Format(time.RFC3339) + " and every group is done with"
			}
			if !*yes {
				if err := c.confirm(fmt.Sprintf("Drop from %q %s?", c.args[0], what)); err != nil {
					return err
				}
			}
			n, err := redisio.Trim(c.ctx, c.rdb, c.args[0], o)
			if err != nil {
				return err
			}
			if c.out.json {
				return c.out.object(struct {
					Dropped int64 `json:"dropped"`
				}{n})
			}
			c.out.line("dropped %s", counted(n, "entry", "entries"))
			return nil
		}
	},
}

// counted returns a number with its noun.
func counted[N int | int64](n N, one, many string) string {
	return fmt.Sprint(n, " ", pick(n, one, many))
}

// pick returns the form of a word that goes with a number.
func pick[N int | int64](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
