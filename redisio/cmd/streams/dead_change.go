package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
)

var deadReplayCommand = command{
	name: "dead replay", args: "KEY", min: 1, max: 1,
	short: "write dead letters back to their streams",
	long: "Writes dead letters back to the streams they came from (or to -to), with their original fields, and " +
		"deletes them here:\n" +
		"atomically, or in two safe steps between slots of a cluster. They become new entries, so their\n" +
		"attempts start at 1 and every group of the stream reads them. Ctrl-C\n" +
		"stops it between two entries. Run it again to continue; nothing is written twice. New dead letters are " +
		"left alone.",
	examples: []string{
		"dead replay orders:dead -all -dry-run",
		"dead replay orders:dead -stage price -since 2h -rate 100",
		"dead replay poison -all -to orders",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var f deadFlags
		var o dead.ReplayOptions
		f.declareAll(fs)
		fs.StringVar(&o.To, "to", "", "write to the stream `key` (default: where each came from)")
		create := fs.Bool("create", false, "with -to: create the stream if it is missing")
		fs.Float64Var(&o.Rate, "rate", 0, "at most `n` per second (default: unlimited)")
		fs.BoolVar(&o.DryRun, "dry-run", false, "only show what would happen")
		fs.BoolVar(&o.KeepReason, "keep-reason", false, "keep the dead:… fields and add dead:replayed")
		return func(c *call) error {
			filter, err := f.changing(c)
			if err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return usageError(err.Error())
			}
			return deadReplay(c, filter, o, *create)
		}
	},
}

func deadReplay(c *call, filter dead.Filter, o dead.ReplayOptions, create bool) error {
	if o.To != "" && !create {
		if n, err := c.rdb.Exists(c.ctx, o.To).Result(); err != nil {
			return err
		} else if n == 0 {
			return fmt.Errorf("%w: there is no stream %q; -create makes it", errRefused, o.To)
		}
	}
	var p progress
	o.OnProgress = func(r dead.ReplayReport) { p.tell(c, "replayed", r.Replayed) }
	report, err := dead.Replay(c.ctx, c.rdb, c.args[0], filter, o)
	if is := (*redisio.ConfigError)(nil); errors.As(err, &is) && report.NoOrigin > 0 {
		err = fmt.Errorf("%w: %d don't name their stream: set -to", errRefused, report.NoOrigin)
	}
	return errors.Join(replayed(c, report, o.DryRun), err)
}

func replayed(c *call, r dead.ReplayReport, dry bool) error {
	if c.out.json {
		return c.out.object(struct {
			DryRun   bool             `json:"dryRun,omitempty"`
			Matched  int64            `json:"matched"`
			Replayed int64            `json:"replayed"`
			Gone     int64            `json:"gone"`
			Empty    int64            `json:"empty"`
			NoOrigin int64            `json:"noOrigin"`
			To       map[string]int64 `json:"to"`
		}{dry, r.Matched, r.Replayed, r.Gone, r.Empty, r.NoOrigin, r.To})
	}
	if r.Matched+r.Gone == 0 {
		c.hint()
		return nil
	}
	if dry {
		for _, to := range slices.Sorted(maps.Keys(r.To)) {
			name := to
			if to == "" {
				name = "(other streams)"
			}
			c.out.line("would replay %s to %s", plural(r.To[to], "dead letter", "dead letters"), escape(name, 0))
		}
	} else {
		c.out.line("replayed %d of %d", r.Replayed, r.Matched)
	}
	for _, left := range []struct {
		n   int64
		why string
	}{
		{r.Gone, "not there any more: replayed or dropped meanwhile"},
		{r.Empty, "left: they have no fields, because the entries had been trimmed"},
		{r.NoOrigin, "left: they don't name their stream, set -to"},
	} {
		if left.n > 0 {
			c.out.line("%d %s", left.n, left.why)
		}
	}
	return nil
}

var deadDropCommand = command{
	name: "dead drop", args: "KEY", min: 1, max: 1,
	short: "delete dead letters",
	long:  "Deletes dead letters. It shows them and asks first, unless -yes is set. New dead letters are left alone.",
	examples: []string{
		"dead drop orders:dead -before 720h",
		"dead drop orders:dead -id 1732360000000-0 -yes",
		"dead drop orders:dead -all -dry-run",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var f deadFlags
		f.declareAll(fs)
		dry := fs.Bool("dry-run", false, "only show which")
		yes := fs.Bool("yes", false, "don't ask")
		return func(c *call) error {
			filter, err := f.changing(c)
			if err != nil {
				return err
			}
			return deadDrop(c, filter, *dry, *yes)
		}
	},
}

func deadDrop(c *call, filter dead.Filter, dry, yes bool) error {
	if dry || !yes {
		plan, err := planDrop(c, filter)
		switch {
		case err != nil:
			return err
		case dry:
			return plan.tell(c)
		case plan.n == 0:
			return dropped(c, 0)
		}
		plan.show(c.out, c.note)
		if err := c.confirm(fmt.Sprintf("Delete %s of %q?", plan.many(), c.args[0])); err != nil {
			return err
		}
		filter.From, filter.Before = plan.first, plan.last.Next() // these, and none that arrived since
	}
	var p progress
	n, err := dead.Drop(
		c.ctx,
		c.rdb,
		c.args[0],
		filter,
		dead.DropOptions{OnProgress: func(n int64) { p.tell(c, "dropped", n) }},
	)
	return errors.Join(dropped(c, n), err)
}

func dropped(c *call, n int64) error {
	if n == 0 && !c.out.json {
		c.hint()
	}
	c.out.line("dropped %s", plural(n, "dead letter", "dead letters"))
	return c.out.object(jsonDrop{Dropped: n})
}

// dropPlan is what dead drop will delete.
type dropPlan struct {
	n           int64
	first, last redisio.ID
	stages      map[string]int64
}

// mostStages limits dropPlan.stages: more are counted as "others".
const mostStages = 20

func planDrop(c *call, filter dead.Filter) (dropPlan, error) {
	p := dropPlan{stages: make(map[string]int64)}
	for d, err := range dead.All(c.ctx, c.rdb, c.args[0], filter) {
		if err != nil {
			return p, err
		}
		if p.n++; p.n == 1 || d.Position.Compare(p.first) < 0 { // with -id the order is that of the flags
			p.first = d.Position
		}
		if d.Position.Compare(p.last) > 0 {
			p.last = d.Position
		}
		stage := strings.Trim(d.Reason.Graph+"/"+d.Reason.Stage, "/")
		if _, known := p.stages[stage]; !known && len(p.stages) >= mostStages {
			stage = "others"
		}
		p.stages[stage]++
	}
	return p, nil
}

func (p dropPlan) many() string { return plural(p.n, "dead letter", "dead letters") }

// show prints the plan line by line.
func (p dropPlan) show(out *printer, say func(string, ...any)) {
	if p.n == 0 {
		return
	}
	say("  first: %s", out.id(p.first))
	say("  last: %s", out.id(p.last))
	for _, stage := range slices.Sorted(maps.Keys(p.stages)) {
		say("  of %s: %d", escape(cmp.Or(stage, "no stage"), 0), p.stages[stage])
	}
}

func (p dropPlan) tell(c *call) error {
	if p.n == 0 && !c.out.json {
		c.hint()
	}
	c.out.line("would drop %s", p.many())
	p.show(c.out, c.out.line)
	j := jsonDrop{DryRun: true, Dropped: p.n}
	if p.n > 0 {
		j.First, j.Last = p.first.String(), p.last.String()
	}
	return c.out.object(j)
}
