package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

var topCommand = command{
	name: "top", args: "[PATTERN]", max: 1,
	short: "show the graphs of an application as they run, or streams with groups",
	long: "Shows the graphs of an application in all its processes, as the page of package gateways/inspect does: " +
		"rates,\nentries in flight, lag, pending entries, the oldest unsettled entry, faults, dead letters, and the " +
		"stage that\nis busiest with its share of the time; then services, clients, routes, hubs and processes. " +
		"Processes publish\nthese figures every 2 seconds with inspect.Page. A process without a report for 7 " +
		"seconds is gone. Lag and\npending entries are those of the whole group. Rates compare reports that are up " +
		"to 4 seconds apart.\n\n" +
		"The application is -app, or the only one there is; otherwise top lists them. With a pattern, or if no\n" +
		"application publishes, it shows streams with groups, from Redis alone.\n\n" +
		"On a terminal it refreshes until q or Ctrl-C. The first letter of a sort key sorts; d shows or hides\n" +
		"processes. Elsewhere, and with -once, it prints plain text. -once waits for a second report, for the rates.",
	examples: []string{
		"top",
		"top -app shop -sort lag",
		"top -app shop -once | grep billing",
		"top -app shop -once -json | jq 'select(.lag > 1000) | .graph'",
		"top 'orders*' -every 5s",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		o := new(topOptions)
		fs.StringVar(&o.app, "app", "", "the application's `name`")
		fs.StringVar(&o.sort, "sort", "", "sort by `key`: "+strings.Join(sortNames(), ", ")+" (default busy, of "+
			"streams lag)")
		fs.DurationVar(&o.every, "every", 2*time.Second, "how often to refresh, at least 100ms")
		fs.BoolVar(&o.once, "once", false, "print once and end")
		fs.BoolVar(&o.fold, "fold", false, "hide the processes of each graph")
		return func(c *call) error { return top(c, o) }
	},
}

type topOptions struct {
	app, sort  string
	every      time.Duration
	once, fold bool
}

// view is what top shows.
type view interface {
	// refresh reads the state. It may be called again after an error.
	refresh(ctx context.Context, c *call) error
	// measured reports whether there are rates.
	measured() bool
	frame(o *topOptions) frame
	// objects prints the state as JSON.
	objects(c *call, o *topOptions) error
}

func top(c *call, o *topOptions) error {
	switch {
	case o.every < 100*time.Millisecond:
		return usagef("-every %v: at least 100ms", o.every)
	case o.sort != "" && !slices.Contains(sortNames(), o.sort):
		return usagef("-sort %q: use %s", o.sort, strings.Join(sortNames(), ", "))
	case o.app != "" && len(c.args) > 0:
		return usagef("-app shows an application and a pattern shows streams: give one")
	}
	v, err := o.choose(c)
	if err != nil || v == nil {
		return err
	}
	if err := o.read(c.ctx, c, v); err != nil {
		return err // later ones may pass
	}
	in, out := c.std.in, c.std.out
	if f, ok := out.(*os.File); ok && isTerminal(f) && !o.once && !c.out.json {
		return o.watch(c, v, in, f)
	}
	return o.print(c, v)
}

// choose returns what to show. It is nil if the applications were listed.
func (o *topOptions) choose(c *call) (view, error) {
	if len(c.args) > 0 {
		return &streamsView{pattern: c.args[0]}, nil
	}
	if o.app != "" {
		return o.named(c)
	}
	names, err := publishers(c.ctx, c.rdb)
	if err != nil {
		return nil, err
	}
	var all, alive []*application
	for _, name := range names {
		a := newApplication(name)
		if err := a.refresh(c.ctx, c.rdb); err != nil {
			return nil, err
		}
		all = append(all, a)
		if a.alive() > 0 {
			alive = append(alive, a)
		}
	}
	switch {
	case len(all) == 0:
		return &streamsView{hint: true}, nil
	case len(alive) == 1:
		return applicationView{alive[0]}, nil
	case len(all) == 1:
		return applicationView{all[0]}, nil
	}
	c.out.row("APPLICATION", "PROCESSES", "GONE")
	for _, a := range all {
		n := a.alive()
		c.out.row(a.name, num(int64(n)), num(int64(len(a.processes)-n)))
		if err := c.out.object(struct {
			App       string `json:"app"`
			Processes int    `json:"processes"`
			Gone      int    `json:"gone"`
		}{a.name, n, len(a.processes) - n}); err != nil {
			return nil, err
		}
	}
	c.note("choose one with -app NAME")
	return nil, nil
}

// named returns the application of -app.
func (o *topOptions) named(c *call) (view, error) {
	a := newApplication(o.app)
	if err := a.refresh(c.ctx, c.rdb); err != nil || len(a.processes) > 0 {
		return applicationView{a}, err
	}
	others, err := publishers(c.ctx, c.rdb)
	if err != nil || len(others) == 0 {
		return nil, fmt.Errorf("no process of application %q publishes reports", o.app)
	}
	return nil, fmt.Errorf("no process of application %q publishes reports; those of %q do", o.app, others)
}

// readWithin bounds one refresh.
const readWithin = 10 * time.Second

func (o *topOptions) read(ctx context.Context, c *call, v view) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	return v.refresh(ctx, c)
}

// firstRates is how long to wait for rates at first: a process publishes every two seconds, and is
// gone without a report for goneAfter.
const (
	firstRates = goneAfter + time.Second
	askEvery   = 250 * time.Millisecond
)

// print prints plain text or JSON: once, or until the end. The first print waits for rates.
func (o *topOptions) print(c *call, v view) error {
	wait, late := askEvery, time.Now().Add(max(firstRates, o.every))
	if _, streams := v.(*streamsView); streams {
		wait = min(o.every, 2*time.Second)
	}
	for !v.measured() && time.Now().Before(late) {
		if !pause(c.ctx, wait) {
			return c.ctx.Err()
		}
		if err := o.read(c.ctx, c, v); err != nil {
			return err
		}
	}
	for {
		for _, l := range v.frame(o) {
			c.out.line("%s", l.text)
		}
		if err := errors.Join(v.objects(c, o), c.out.flush()); err != nil || o.once {
			return err
		}
		if !pause(c.ctx, o.every) {
			return nil // the normal end of watching
		}
		if err := o.read(c.ctx, c, v); err != nil {
			if c.ctx.Err() != nil {
				return nil
			}
			return err
		}
		c.out.line("")
	}
}

// pause waits, and reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// applicationView shows an application.
type applicationView struct{ *application }

func (a applicationView) refresh(ctx context.Context, c *call) error {
	return a.application.refresh(ctx, c.rdb)
}

// alive returns the number of processes that are not gone.
func (a *application) alive() (n int) {
	for _, p := range a.processes {
		if !p.gone {
			n++
		}
	}
	return n
}

func (a applicationView) objects(c *call, o *topOptions) error {
	if !c.out.json {
		return nil
	}
	head := jsonHead{time.Now().UTC(), a.name}
	graphs := a.lines()
	sortGraphs(graphs, o.sort)
	var errs []error
	for _, g := range graphs {
		errs = append(errs, c.out.object(struct {
			jsonHead
			graphLine
		}{head, g}))
	}
	for _, p := range a.parts() {
		errs = append(errs, c.out.object(struct {
			jsonHead
			partLine
		}{head, p}))
	}
	for _, p := range a.sorted() {
		r := p.newest()
		errs = append(errs, c.out.object(struct {
			jsonHead
			Process string `json:"process"`
			Host    string `json:"host"`
			PID     int    `json:"pid"`
			Uptime  int64  `json:"uptimeMs"`
			Age     int64  `json:"reportMs"`
			Gone    bool   `json:"gone"`
		}{head, p.id, r.Host, r.PID, r.At.Sub(r.Started).Milliseconds(), p.age.Milliseconds(), p.gone}))
	}
	return errors.Join(errs...)
}

// jsonHead begins each object of top.
type jsonHead struct {
	Time time.Time `json:"time"`
	App  string    `json:"app,omitempty"`
}

func (v *streamsView) objects(c *call, o *topOptions) error {
	if !c.out.json {
		return nil
	}
	head := jsonHead{Time: time.Now().UTC()}
	groups := slices.Clone(v.groups)
	slices.SortStableFunc(groups, func(a, b groupLine) int { return o.compareGroups(&a, &b) })
	var errs []error
	for _, g := range groups {
		errs = append(errs, c.out.object(struct {
			jsonHead
			groupLine
		}{head, g}))
	}
	return errors.Join(errs...)
}

// compareGroups orders groups of streams. Orders that only graphs have are by name.
func (o *topOptions) compareGroups(a, b *groupLine) int {
	by := 0
	switch cmp.Or(o.sort, "lag") {
	case "lag":
		by = cmp.Compare(b.Lag, a.Lag)
	case "rate":
		by = cmp.Compare(b.Read, a.Read)
	case "pending", "inflight":
		by = cmp.Compare(b.Pending, a.Pending)
	case "oldest":
		by = cmp.Compare(b.OldestAge, a.OldestAge)
	}
	return cmp.Or(by, cmp.Compare(a.Key, b.Key), cmp.Compare(a.Group, b.Group))
}

// shownLines splits a text of ours into lines.
func shownLines(t tone, text string) (f frame) {
	for line := range strings.SplitSeq(text, "\n") {
		f = append(f, shown{line, t})
	}
	return f
}

// statusLine says what top does, on a terminal.
func (o *topOptions) statusLine(now time.Time, err error) shown {
	text := fmt.Sprintf("%s  every %s  sort: %s  [q]uit  [d]etails  [b]usy [r]ate [l]ag [p]ending [i]nflight [o]ldest "+
		"[f]aults [n]ame", now.Format(time.TimeOnly), round(o.every), cmp.Or(o.sort, "default"))
	if err != nil {
		return shown{escapeMessage(fmt.Sprintf("%s  Redis does not answer, trying again: %s", now.Format(time.TimeOnly),
			firstLine(err.Error()))), alarming}
	}
	return shown{text, faint}
}
