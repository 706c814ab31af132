package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
)

// deadFlags are the flags that select dead letters.
type deadFlags struct {
	filter        dead.Filter
	since, before pointFlag
	all           bool
}

func (f *deadFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&f.filter.Error, "error", "", "only those whose error, or a wrapped one, contains this `text` in it")
	fs.StringVar(&f.filter.Stage, "stage", "", "only those of the stage of this `name`")
	fs.StringVar(&f.filter.Graph, "graph", "", "only those of the graph of this `name`")
	fs.StringVar(&f.filter.Group, "group", "", "only those of the group of this `name`")
	fs.StringVar(&f.filter.Key, "from", "", "only those that came from the stream `key`")
	fs.Var(&f.since, "since", "only those that died since `when`: "+whenHelp)
	fs.Var(&f.before, "before", "only those that died before `when`")
	fs.Func(
		"id",
		"only the dead letter of this `ID`; may be repeated, or several with commas",
		func(text string) error {
			for id := range strings.SplitSeq(text, ",") {
				if _, err := parseID(id); err != nil {
					return err
				}
				f.filter.IDs = append(f.filter.IDs, id)
			}
			return nil
		},
	)
	fs.Int64Var(&f.filter.Limit, "limit", 0, "at most the first `n` (default all)")
}

// declareAll also declares -all, for commands that change something and so require a filter.
func (f *deadFlags) declareAll(fs *flag.FlagSet) {
	f.declare(fs)
	fs.BoolVar(&f.all, "all", false, "all of them: required without another filter")
}

func (f *deadFlags) choice(c *call) (dead.Filter, error) {
	since, err := f.since.point(c)
	if err != nil {
		return f.filter, err
	}
	f.filter.From = since.id
	if f.filter.Before, err = f.before.end(c); err != nil {
		return f.filter, err
	}
	if err := f.filter.Validate(); err != nil {
		return f.filter, usageError(err.Error())
	}
	return f.filter, nil
}

// changing is choice for commands that change something.
func (f *deadFlags) changing(c *call) (dead.Filter, error) {
	filter, err := f.choice(c)
	if err != nil {
		return filter, err
	}
	some := len(filter.IDs) > 0 || filter.Error+filter.Stage+filter.Graph+filter.Group+filter.Key != "" ||
		!filter.From.IsZero() || !filter.Before.IsZero() || filter.Limit > 0
	if !some && !f.all {
		return filter, usagef("no filter: use -id, -stage, -error, -since, … or -all")
	}
	return filter, nil
}

var deadListCommand = command{
	name: "dead list", args: "KEY", min: 1, max: 1,
	short: "list dead letters: when, where and why",
	long: "Lists the entries of a dead-letter stream, oldest first. KEY is the dead-letter stream itself, such as " +
		"orders:dead. Dead\nletters written by other programs show only " +
		"their ID. Payloads are not shown: see dead show.",
	examples: []string{
		"dead list orders:dead",
		"dead list orders:dead -stage price -since 2h",
		"dead list orders:dead -error timeout -limit 20",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var f deadFlags
		f.declare(fs)
		full := fs.Bool("full", false, "show complete errors")
		return func(c *call) error {
			filter, err := f.choice(c)
			if err != nil {
				return err
			}
			return deadList(c, filter, *full)
		}
	},
}

// jsonReason is the reason of a dead letter in JSON.
type jsonReason struct {
	ID         string      `json:"id"`
	Error      string      `json:"error,omitempty"`
	Causes     []string    `json:"causes,omitempty"`
	Graph      string      `json:"graph,omitempty"`
	Stage      string      `json:"stage,omitempty"`
	Attempts   int64       `json:"attempts,omitempty"`
	Key        string      `json:"fromKey,omitempty"`
	KeyBase64  string      `json:"fromKeyBase64,omitempty"`
	OriginalID string      `json:"fromID,omitempty"`
	Group      string      `json:"group,omitempty"`
	Time       *time.Time  `json:"time,omitempty"`
	Replayed   *time.Time  `json:"replayed,omitempty"`
	Stack      string      `json:"stack,omitempty"`
	Fields     []jsonField `json:"fields,omitempty"`
}

func reasonOf(d dead.Entry) jsonReason {
	r := d.Reason
	j := jsonReason{ID: d.ID, Error: r.Error, Causes: r.Causes, Graph: r.Graph, Stage: r.Stage, Attempts: r.Attempts,
		Key: r.Key, KeyBase64: binary(r.Key), OriginalID: r.ID, Group: r.Group}
	if !r.Time.IsZero() {
		j.Time = &r.Time
	}
	if !r.Replayed.IsZero() {
		j.Replayed = &r.Replayed
	}
	return j
}

func deadList(c *call, filter dead.Filter, full bool) error {
	limit := 100
	if full {
		limit = 0
	}
	n := 0
	for d, err := range dead.All(c.ctx, c.rdb, c.args[0], filter) {
		if err != nil {
			return err
		}
		n++
		if c.out.json {
			if err := c.out.object(reasonOf(d)); err != nil {
				return err
			}
			continue
		}
		if n == 1 {
			c.out.row("ID", "DIED", "STAGE", "ATTEMPTS", "FROM", "ERROR")
		}
		attempts := ""
		if d.Reason.Attempts > 0 {
			attempts = num(d.Reason.Attempts)
		}
		text := d.Reason.Error
		if !full {
			text = firstLine(text)
		}
		if limit > 0 && len(text) > limit {
			text = strings.ToValidUTF8(text[:limit], "") + "…"
		}
		c.out.row(
			d.ID,
			c.out.when(d.Position),
			d.Reason.Stage,
			attempts,
			strings.TrimSpace(d.Reason.Key+" "+d.Reason.ID),
			text,
		)
	}
	if n == 0 {
		c.hint()
	}
	return nil
}

// hint names another stream that may have the dead letters.
func (c *call) hint() {
	key := c.args[0]
	other := key + ":dead"
	if n, err := c.rdb.XLen(c.ctx, other).Result(); err == nil && n > 0 {
		c.note("none such in %q; did you mean %q, which has %s?", key, other, plural(n, "dead letter", "dead letters"))
		return
	}
	c.note("none such in %q", key)
}

var deadShowCommand = command{
	name: "dead show", args: "KEY ID …", min: 2, max: 100,
	short: "show dead letters with their payload and the whole error",
	long: "Shows complete dead letters: the fields of the entry in order, then why it failed, with all wrapped " +
		"errors\nand the stack of a panic. Values longer than 500 bytes are cut unless -full is set.",
	examples: []string{"dead show orders:dead 1732360000000-0", "dead show orders:dead 1732360000000-0 -full -json"},
	flags: func(fs *flag.FlagSet) func(*call) error {
		full := fs.Bool("full", false, "show complete values")
		return func(c *call) error {
			for _, id := range c.args[1:] {
				if _, err := parseID(id); err != nil {
					return err
				}
				d, err := dead.Find(c.ctx, c.rdb, c.args[0], id)
				if err != nil {
					return err
				}
				if err := deadShow(c, d, *full); err != nil {
					return err
				}
			}
			return nil
		}
	},
}

func deadShow(c *call, d dead.Entry, full bool) error {
	r := d.Reason
	if c.out.json {
		j := reasonOf(d)
		j.Stack, j.Fields = r.Stack, jsonFields(d.Original)
		return c.out.object(j)
	}
	c.out.line("%s  %s", d.ID, c.out.when(d.Position))
	c.out.fields(d.Original, full)
	if len(d.Original) == 0 {
		c.out.line("  (no fields: the entry had been trimmed)")
	}
	say := func(name, value string) {
		if value != "" {
			c.out.line("  %s: %s", name, escape(value, 0))
		}
	}
	say("error", r.Error)
	for _, cause := range r.Causes {
		say("  because", cause)
	}
	say("stage", strings.Trim(r.Graph+"/"+r.Stage, "/"))
	say("from", strings.TrimSpace(r.Key+" "+r.ID))
	say("group", r.Group)
	if r.Attempts > 0 {
		say("attempts", num(r.Attempts))
	}
	if !r.Time.IsZero() {
		say("given up", c.out.time(r.Time))
	}
	if !r.Replayed.IsZero() {
		say("replayed before", c.out.time(r.Replayed))
	}
	if r.Stack != "" {
		c.out.line("  stack:")
		for line := range strings.Lines(r.Stack) {
			line = strings.TrimSuffix(line, "\n")
			inner := strings.TrimLeft(line, "\t")
			c.out.line("    %s%s", strings.Repeat("    ", len(line)-len(inner)), escape(inner, 0))
		}
	}
	return nil
}

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
	return errors.Join(c.replayed(report, o.DryRun), err)
}

func (c *call) replayed(r dead.ReplayReport, dry bool) error {
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
	if c.out.json {
		return c.out.object(struct {
			Dropped int64 `json:"dropped"`
		}{n})
	}
	if n == 0 {
		c.hint()
	}
	c.out.line("dropped %s", plural(n, "dead letter", "dead letters"))
	return nil
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
	if c.out.json {
		j := struct {
			DryRun  bool   `json:"dryRun"`
			Dropped int64  `json:"dropped"`
			First   string `json:"first,omitempty"`
			Last    string `json:"last,omitempty"`
		}{DryRun: true, Dropped: p.n}
		if p.n > 0 {
			j.First, j.Last = p.first.String(), p.last.String()
		}
		return c.out.object(j)
	}
	if p.n == 0 {
		c.hint()
	}
	c.out.line("would drop %s", p.many())
	p.show(c.out, c.out.line)
	return nil
}

// progress reports every other second how far a long command is.
type progress struct{ last time.Time }

func (p *progress) tell(c *call, verb string, n int64) {
	now := time.Now()
	if p.last.IsZero() {
		p.last = now
	}
	if now.Sub(p.last) >= 2*time.Second {
		p.last = now
		c.note("%s %d so far", verb, n)
	}
}
