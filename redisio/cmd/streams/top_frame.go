package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
)

// tone is how a line looks on a terminal.
type tone int

const (
	plain tone = iota
	heading
	faint
	alarming
)

// shown is a line of a frame. It is safe for a terminal.
type shown struct {
	text string
	tone tone
}

// frame is what top shows at one moment.
type frame []shown

func (f *frame) line(t tone, format string, args ...any) {
	*f = append(*f, shown{escapeMessage(fmt.Sprintf(format, args...)), t})
}

// table adds aligned rows. The first is the heading.
func (f *frame) table(rows []tableRow) {
	var b bytes.Buffer
	tab := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		cells := make([]string, len(rows[0].cells)) // a row may end early
		for i, c := range r.cells {
			cells[i] = strings.Repeat(" ", r.indent*(1-min(i, 1))) + escape(cmp.Or(c, "-"), maxCell)
		}
		fmt.Fprintln(tab, strings.Join(cells, "\t"))
	}
	_ = tab.Flush() // into memory
	for i, text := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		*f = append(*f, shown{strings.TrimRight(text, " "), rows[i].tone})
	}
}

// maxCell bounds what one name takes of a line, in bytes.
const maxCell = 400

type tableRow struct {
	tone   tone
	indent int // of the first cell
	cells  []string
}

// sortKeys are the orders of graphs, by name. A key of the keyboard is the first letter.
var sortKeys = []struct {
	name string
	less func(a, b *graphLine) int
}{
	{"busy", func(a, b *graphLine) int {
		return cmp.Or(cmp.Compare(b.Stuck, a.Stuck), cmp.Compare(b.BusiestShare, a.BusiestShare))
	}},
	{"rate", func(a, b *graphLine) int { return cmp.Compare(b.ReadRate, a.ReadRate) }},
	{"lag", func(a, b *graphLine) int { return cmp.Compare(b.Lag, a.Lag) }},
	{"pending", func(a, b *graphLine) int { return cmp.Compare(b.Pending, a.Pending) }},
	{"inflight", func(a, b *graphLine) int { return cmp.Compare(b.InFlight, a.InFlight) }},
	{"oldest", func(a, b *graphLine) int { return cmp.Compare(b.Oldest, a.Oldest) }},
	{"faults", func(a, b *graphLine) int {
		return cmp.Or(cmp.Compare(b.FaultRate, a.FaultRate), cmp.Compare(b.Faults, a.Faults))
	}},
	{"name", func(*graphLine, *graphLine) int { return 0 }},
}

func sortNames() (names []string) {
	for _, k := range sortKeys {
		names = append(names, k.name)
	}
	return names
}

func sortGraphs(all []graphLine, by string) {
	less := sortKeys[max(0, slices.Index(sortNames(), by))].less
	slices.SortFunc(all, func(a, b graphLine) int { return cmp.Or(less(&a, &b), cmp.Compare(a.Graph, b.Graph)) })
}

// frame shows an application.
func (a *application) frame(o *topOptions) (f frame) {
	processes, gone := a.sorted(), 0
	for _, p := range processes {
		if p.gone {
			gone++
		}
	}
	title := fmt.Sprintf("application %q: %s", a.name, plural(int64(len(processes)-gone), "process", "processes"))
	if gone > 0 {
		title += fmt.Sprintf(", %d gone", gone)
	}
	f.line(plain, "%s", title)
	if len(processes) == 0 {
		f.line(plain, "no process publishes a report now")
		return f
	}
	f.line(plain, "")
	f.table(a.graphRows(o))
	if rows := a.partRows(); len(rows) > 1 {
		f.line(plain, "")
		f.table(rows)
	}
	f.line(plain, "")
	rows := []tableRow{{tone: heading, cells: []string{"PROCESS", "HOST", "PID", "UP", "REPORT", "GRAPHS"}}}
	omitted := 0
	for _, p := range processes {
		r := p.newest()
		row := tableRow{cells: []string{p.id, r.Host, num(int64(r.PID)), short(r.At.Sub(r.Started)),
			short(p.age) + " ago", num(int64(len(r.Graphs)))}}
		if p.gone {
			row.tone, row.cells[4] = alarming, row.cells[4]+", gone"
		}
		rows, omitted = append(rows, row), omitted+r.Omitted
	}
	f.table(rows)
	if omitted > 0 {
		f.line(plain, "%d graphs and parts are left out of the reports: there are too many", omitted)
	}
	return f
}

// graphRows returns the table of the graphs.
func (a *application) graphRows(o *topOptions) []tableRow {
	rows := []tableRow{
		{tone: heading, cells: []string{"GRAPH", "PROCESSES", "STATE", "READ/s", "SETTLED/s", "IN FLIGHT",
			"LAG", "PENDING", "OLDEST", "FAULTS", "FAULTS/s", "DEAD", "BUSIEST STAGE"}},
	}
	graphs := a.lines()
	sortGraphs(graphs, o.sort)
	for i := range graphs {
		g := &graphs[i]
		processes := num(int64(g.Processes))
		if g.Gone > 0 {
			processes += fmt.Sprintf(", %d gone", g.Gone)
		}
		row := g.row(g.Graph, processes)
		if g.Processes == 0 {
			row.tone, row.cells = alarming, []string{g.Graph, processes}
		}
		rows = append(rows, row)
		if o.fold || len(g.Each) < 2 {
			continue
		}
		for _, e := range g.Each {
			row := e.row(e.Process, "")
			row.indent, row.tone = 2, max(row.tone, faint)
			if e.Gone {
				row.tone, row.cells = alarming, []string{e.Process, "gone", "was " + e.State}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func (g *graphFigures) row(name, processes string) tableRow {
	row := tableRow{cells: []string{name, processes, g.State, rateOf(g.Measured, g.ReadRate),
		rateOf(g.Measured, g.SettledRate), fmt.Sprintf("%d/%d", g.InFlight, g.MaxInFlight),
		known(g.Lag), known(g.Pending),
		shortOf(g.Oldest > 0, time.Duration(g.Oldest)*time.Millisecond), num(int64(g.Faults)),
		rateOf(g.Measured, g.FaultRate), num(int64(g.Dead)), g.busiest()}}
	if g.Failure != "" || g.Stuck > 0 {
		row.tone = alarming
	}
	return row
}

// busiest says which stage limits the graph.
func (g *graphFigures) busiest() string {
	switch {
	case g.Failure != "":
		return "failed: " + firstLine(g.Failure)
	case g.Stuck > 0:
		return fmt.Sprintf("%s stuck for %s", g.BusiestStage, short(time.Duration(g.Stuck)*time.Millisecond))
	case g.BusiestStage == "" || !g.Measured || g.State == "ended":
		return ""
	}
	return fmt.Sprintf("%s %.0f%%", g.BusiestStage, 100*g.BusiestShare)
}

// partRows returns the table of the services, clients, routes, hubs and handlers of events.
func (a *application) partRows() []tableRow {
	rows := []tableRow{{tone: heading, cells: []string{"PART", "NAME", "PROCESSES", "FIGURES"}}}
	for _, p := range a.parts() {
		row := tableRow{cells: []string{p.Kind, p.Name, num(int64(p.Processes)), p.text()}}
		for _, f := range p.Figures {
			if f.Bad && f.Rate > 0 {
				row.tone = alarming
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// text returns the figures that are not 0. Of counts it shows the rate, and the number of what should
// not happen.
func (l *partLine) text() string {
	var texts []string
	for _, f := range l.Figures {
		switch {
		case f.Value == 0 && !f.Now:
		case f.Now:
			texts = append(texts, fmt.Sprintf("%s %d", f.Name, f.Value))
		case f.Bad:
			texts = append(texts, fmt.Sprintf("%s %d (%s/s)", f.Name, f.Value, rateOf(l.Measured, f.Rate)))
		default:
			texts = append(texts, fmt.Sprintf("%s %s/s", f.Name, rateOf(l.Measured, f.Rate)))
		}
	}
	if l.Half != 0 {
		texts = append(texts, "half "+bounded(l.Half), "99% "+bounded(l.Most))
	}
	return strings.Join(texts, ", ")
}

// bounded formats a bound in milliseconds.
func bounded(ms float64) string {
	if ms < 0 {
		bounds := gateways.CallBounds()
		return "> " + bounds[len(bounds)-1].String()
	}
	return "≤ " + time.Duration(ms*float64(time.Millisecond)).String()
}

// rateOf formats a rate; "-" if it was not measured.
func rateOf(measured bool, rate float64) string {
	switch {
	case !measured:
		return "-"
	case rate == 0:
		return "0"
	case rate < 10:
		return fmt.Sprintf("%.1f", max(rate, 0.1))
	case rate < 100_000:
		return fmt.Sprintf("%.0f", rate)
	}
	return fmt.Sprintf("%.0fk", rate/1000)
}

// known formats a number; "-" for -1, which is unknown.
func known(n int64) string {
	if n < 0 {
		return "-"
	}
	return num(n)
}
