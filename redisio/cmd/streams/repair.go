package main

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
)

var resetCommand = command{
	name: "reset", args: "KEY GROUP -to POSITION", min: 2, max: 2,
	short: "set a group's position, to read again or to skip",
	long: "Sets the position of a group: later entries are delivered, possibly again, earlier ones are not. " +
		"It shows\n" +
		"the effect and asks first, unless -yes is set. It is refused while consumers of the group live: stop them " +
		"first. A server\n" +
		"before Redis 7.2 does not report whether they live: stop all readers, then use -force. Pending entries " +
		"stay with their\n" +
		"consumers, unless -pending releases them (any reader may take them at once) or drops them (they count as " +
		"settled).",
	examples: []string{
		"reset orders billing -to start -dry-run",
		"reset orders billing -to 2h",
		"reset orders billing -to 1732360000000-0 -yes",
		"reset orders billing -to end -pending drop",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		to := fs.String("to", "", "the `position`: start, end, "+whenHelp+" (the last one delivered)")
		pending := fs.String("pending", "keep", "what to do with pending entries: keep, release or drop")
		var o admin.ResetOptions
		fs.BoolVar(&o.DryRun, "dry-run", false, "only show what would happen")
		fs.BoolVar(&o.Force, "force", false, "even if consumers live, or may live")
		fs.DurationVar(&o.Live, "live", 30*time.Second, "a consumer that is idle for less counts as alive")
		yes := fs.Bool("yes", false, "don't ask")
		return func(c *call) error {
			if *to == "" {
				return usagef("-to is missing: use start, end, a time or an ID")
			}
			start, err := position(*to, c.now, c.out.zone)
			if err != nil {
				return err
			}
			choices := map[string]admin.PendingChoice{
				"keep":    admin.KeepPending,
				"release": admin.ReleasePending,
				"drop":    admin.DropPending,
			}
			choice, ok := choices[*pending]
			if !ok {
				return usagef("-pending %q: write keep, release or drop", *pending)
			}
			o.Pending = choice
			if err := o.Validate(); err != nil || o.Live == 0 {
				return usagef("-live %v: it must be positive; -force ignores live consumers", o.Live)
			}
			return reset(c, start, o, *pending, *yes)
		}
	},
}

func reset(c *call, to redisio.Start, o admin.ResetOptions, pending string, yes bool) error {
	if !o.DryRun && !yes {
		look := o
		look.DryRun = true
		plan, err := admin.Reset(c.ctx, c.rdb, c.args[0], c.args[1], to, look)
		if err != nil {
			return err
		}
		resetPlan{plan, look, pending}.show(c, c.note)
		if len(plan.Live) == 0 || o.Force { // otherwise it is refused below, without a question
			if err := c.confirm(fmt.Sprintf("Reset group %q of %q?", c.args[1], c.args[0])); err != nil {
				return err
			}
		}
		to = redisio.StartID(plan.To) // not an end that has moved on
	}
	plan, err := admin.Reset(c.ctx, c.rdb, c.args[0], c.args[1], to, o)
	if err != nil {
		return err
	}
	p := resetPlan{plan, o, pending}
	p.show(c, c.out.line)
	return p.json(c)
}

// resetPlan is what a reset did, or would do in a dry run.
type resetPlan struct {
	admin.ResetPlan
	o       admin.ResetOptions
	pending string
}

func (p resetPlan) json(c *call) error {
	live := []string{}
	for _, m := range p.Live {
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
	}{p.o.DryRun, p.From.String(), p.To.String(), p.Again, p.Skipped, p.AtLeast, p.Pending, p.Settled, live})
}

// show prints the plan line by line.
func (p resetPlan) show(c *call, say func(string, ...any)) {
	did := func(would, has string) string {
		if p.o.DryRun {
			return would
		}
		return has
	}
	say("%s from %s", did("would go", "went"), c.out.id(p.From))
	say("%s to %s", did("        ", "    "), c.out.id(p.To))
	entries := func(n int64, does string) {
		verb := "are"
		if n == 1 && !p.AtLeast {
			verb = "is"
		}
		say("%s %s %s", pluralOf(n, p.AtLeast, "entry", "entries"), did("would be", verb), does)
	}
	switch {
	case p.Again > 0:
		entries(p.Again, "delivered again")
	case p.Skipped > 0:
		entries(p.Skipped, "skipped")
	default:
		say("no entries are between")
	}
	switch stay := plural(p.Pending, "pending entry stays", "pending entries stay"); {
	case p.Pending == 0:
	case p.o.Pending == admin.KeepPending:
		say("%s as before", stay)
	case p.o.DryRun:
		say("would %s %s", p.pending, plural(p.Pending, "pending entry", "pending entries"))
	default:
		past := map[string]string{"release": "released", "drop": "dropped"}[p.pending]
		say("%s %s", past, plural(p.Settled, "pending entry", "pending entries"))
	}
	if p.o.DryRun && !p.o.Force {
		p.refusal(say)
	}
}

// refusal reports which consumers would prevent the reset.
func (p resetPlan) refusal(say func(string, ...any)) {
	n := len(p.Live)
	if n == 0 {
		return
	}
	names, certain := make([]string, 0, 5), false
	for i, m := range p.Live {
		if i < 5 {
			names = append(names, escape(m.Name, 0))
		}
		certain = certain || m.Idle < p.o.Live
	}
	consumers := fmt.Sprintf("%s (%s)", plural(int64(n), "consumer", "consumers"), strings.Join(names, ", "))
	if certain {
		say("it would be refused now: the group is being read by %s; stop all readers first", consumers)
		return
	}
	say(
		"it would be refused now: this server does not report whether %s live; stop all readers, then use -force",
		consumers,
	)
}

var reapCommand = command{
	name: "reap", args: "KEY GROUP", min: 2, max: 2,
	short: "delete idle consumers without pending entries",
	long: "Deletes the long idle consumers of a group that have no pending entries: pending entries are never " +
		"lost. Before\nRedis 7.2 a waiting live consumer looks idle too: its next read creates it again.",
	examples: []string{"reap orders billing -dry-run", "reap orders billing -idle 24h"},
	flags: func(fs *flag.FlagSet) func(*call) error {
		idle := fs.Duration("idle", time.Hour, "the minimum idle time, at least a second")
		dry := fs.Bool("dry-run", false, "only list them")
		return func(c *call) error { return reap(c, *idle, *dry) }
	},
}

func reap(c *call, idle time.Duration, dry bool) error {
	if idle < time.Second {
		return usagef("-idle %v: a second at least", idle)
	}
	if dry {
		g, err := c.group()
		if err != nil {
			return err
		}
		for _, m := range g.Members {
			if m.Pending > 0 || m.Idle < idle {
				continue
			}
			if err := c.out.object(jsonConsumerOf(m)); err != nil {
				return err
			}
			c.out.line("would delete %s, idle for %s", escape(m.Name, 0), short(m.Idle))
		}
		return nil
	}
	n, err := admin.Reap(c.ctx, c.rdb, c.args[0], c.args[1], idle)
	if err != nil {
		return err
	}
	c.out.line("deleted %s", plural(n, "consumer", "consumers"))
	return c.out.object(struct {
		Reaped int64 `json:"reaped"`
	}{n})
}

var trimCommand = command{
	name: "trim", args: "KEY", min: 1, max: 1,
	short: "drop old entries that all groups have settled",
	long: "Drops entries that every group of the stream has read and settled. Pending and undelivered entries stay.\n" +
		"A stream without groups is trimmed only with -before. It shows them and asks first, unless -yes is set.",
	examples: []string{
		"trim orders -dry-run",
		"trim orders -before 168h",
		"trim orders -before 1732360000000-0 -exact -yes",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var before pointFlag
		fs.Var(&before, "before", "only entries from before `when`: "+whenHelp)
		exact := fs.Bool("exact", false, "trim exactly; the default keeps some more, which is cheaper for the server")
		dry := fs.Bool("dry-run", false, "only show what would be dropped")
		yes := fs.Bool("yes", false, "don't ask")
		return func(c *call) error {
			first, err := before.end(c)
			if err != nil {
				return err
			}
			return trim(c, admin.TrimOptions{Before: first, Exact: *exact}, *dry, *yes)
		}
	},
}

func trim(c *call, o admin.TrimOptions, dry, yes bool) error {
	plan, err := admin.PlanTrim(c.ctx, c.rdb, c.args[0], o)
	if err != nil {
		return err
	}
	switch {
	case dry, plan.Entries == 0 && !c.out.json:
		trimShow(c, plan, o, c.out.line)
		j := jsonDrop{DryRun: true, Dropped: plan.Entries, AtLeast: plan.AtLeast, Group: plan.Group}
		if plan.Entries > 0 {
			j.First, j.Last = plan.First.String(), plan.Last.String()
		}
		return c.out.object(j)
	case plan.Entries > 0 && !yes:
		trimShow(c, plan, o, c.note)
		if err := c.confirm(fmt.Sprintf("Drop them from %q?", c.args[0])); err != nil {
			return err
		}
	}
	n := int64(0)
	if plan.Entries > 0 {
		o.Before = plan.Last.Next() // these, and none that the groups have settled since
		if n, err = admin.Trim(c.ctx, c.rdb, c.args[0], o); err != nil {
			return err
		}
	}
	c.out.line("dropped %s", plural(n, "entry", "entries"))
	return c.out.object(jsonDrop{Dropped: n})
}

// jsonDrop is what was dropped, or would be in a dry run, in JSON.
type jsonDrop struct {
	DryRun  bool   `json:"dryRun,omitempty"`
	Dropped int64  `json:"dropped"`
	AtLeast bool   `json:"atLeast,omitempty"`
	First   string `json:"first,omitempty"`
	Last    string `json:"last,omitempty"`
	Group   string `json:"keptForGroup,omitempty"`
}

// trimShow prints what would be dropped, and why the rest stays.
func trimShow(c *call, p admin.TrimPlan, o admin.TrimOptions, say func(string, ...any)) {
	many := pluralOf(p.Entries, p.AtLeast, "entry", "entries")
	if !o.Exact && p.Entries > 0 {
		many = "up to " + many
	}
	say("would drop %s of %d", many, p.Length)
	if p.Entries > 0 {
		say("  first: %s", c.out.id(p.First))
		say("  last: %s", c.out.id(p.Last))
	}
	switch {
	case p.Group != "":
		say("group %s has not settled entries from %s", escape(p.Group, 0), c.out.id(p.Keep))
	case p.Groups == 0 && o.Before.IsZero():
		say("the stream has no groups: choose entries by -before")
	}
}
