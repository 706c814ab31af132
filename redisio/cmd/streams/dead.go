package main

import (
	"flag"
	"strings"
	"time"

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
		if err := c.out.object(reasonOf(d)); err != nil {
			return err
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
