package faulttest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// List writes the scenarios, one per line.
func List(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range Scenarios() {
		what := s.What
		if s.LongOnly {
			what += " (long form only)"
		}
		fmt.Fprintf(tw, "  %s\t%s\n", s.ID, what)
	}
	_ = tw.Flush() // to a terminal
}

// RunAll runs the scenarios, some of them concurrently, and logs each verdict. Results are in the
// order of the scenarios. Scenarios that did not finish are omitted.
func RunAll(ctx context.Context, scenarios []Scenario, o Options) ([]Result, error) {
	if _, err := serverVersion(ctx); err != nil {
		return nil, err
	}
	results, done := make([]Result, len(scenarios)), make([]bool, len(scenarios))
	var all errgroup.Group
	all.SetLimit(max(1, o.Parallel))
	for i, s := range scenarios {
		all.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			o.logf("%s: %s (seed %d)", s.ID, s.What, o.Seed)
			results[i] = Run(ctx, s, o)
			if done[i] = ctx.Err() == nil; done[i] {
				o.logf("%s", results[i].line())
			}
			return nil
		})
	}
	_ = all.Wait() // the results have the errors
	var whole []Result
	for i := range results {
		if done[i] {
			whole = append(whole, results[i])
		}
	}
	return whole, context.Cause(ctx)
}

// line returns the result with all findings as text for a log.
func (r *Result) line() string {
	var b strings.Builder
	fmt.Fprintf(
		&b,
		"%s: %s: %d messages, %s; lost %d, duplicated %d (%d), stall %v (%v), took %v",
		r.ID,
		r.Verdict(),
		r.Messages,
		orNothing(r.Faults),
		r.Lost,
		r.Duplicated,
		r.Allowed,
		r.Stall.Round(10*time.Millisecond),
		r.StallMost.Round(10*time.Millisecond),
		r.Took.Round(100*time.Millisecond),
	)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n    %s: %s", f.Kind, f.Text)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n    %s", n)
	}
	return b.String()
}

var columns = [...]string{
	"scenario",
	"fault",
	"seed",
	"messages",
	"faults",
	"lost",
	"duplicated (allowed)",
	"order breaks",
	"longest stall (allowed)",
	"verdict",
}

func (r *Result) row() []string {
	order := "not promised"
	if r.Order >= 0 {
		order = fmt.Sprint(r.Order)
	}
	if r.Skipped != "" {
		return []string{r.ID, r.What, fmt.Sprint(r.Seed), "", "", "", "", "", "", r.Verdict()}
	}
	tenths := func(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
	return []string{r.ID, r.What, fmt.Sprint(r.Seed), fmt.Sprint(r.Messages), r.Faults, fmt.Sprint(r.Lost),
		fmt.Sprintf(
			"%d (%d)",
			r.Duplicated,
			r.Allowed,
		), order, fmt.Sprintf("%s (%s)", tenths(r.Stall), tenths(r.StallMost)), r.Verdict()}
}

// WriteTable writes the results for a terminal.
func WriteTable(w io.Writer, results []Result) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(columns[:], "\t"))
	for i := range results {
		cells := results[i].row()
		for c := range cells {
			if r := []rune(cells[c]); len(r) > 48 && c < len(cells)-1 {
				cells[c] = string(r[:47]) + "…"
			}
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	_ = tw.Flush() // to a terminal
}

// WriteReport writes the results as Markdown.
func WriteReport(ctx context.Context, path string, results []Result, o Options, names string) error {
	version, err := serverVersion(ctx)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	form, flags := "short", fmt.Sprintf(" -seed %d", o.Seed)
	if o.Long {
		form, flags = "long", " -long"+flags
	}
	if names != "" {
		flags += " -scenario " + names
	}
	if o.Messages > 0 {
		flags += fmt.Sprintf(" -n %d", o.Messages)
	}
	passed, messages, lost := 0, 0, 0
	for i := range results {
		if results[i].Passed() {
			passed++
		}
		messages, lost = messages+results[i].Messages, lost+results[i].Lost
	}
	fmt.Fprintf(&b, `# Reliability report

%s

The %s form: %d of %d trials passed, with %d messages, %d lost. %s, %s, %s/%s, %d CPUs shared by the servers,
the workers and the harness. To repeat it:

    go run ./bench/cmd/faults%s -o bench/RELIABILITY.md

`, about, form, passed, len(results), messages, lost, version, runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), flags)
	row := func(cells []string) {
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	row(columns[:])
	fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(columns)))
	for i := range results {
		row(results[i].row())
	}
	b.WriteString("\n## Notes\n\n")
	for i := range results {
		r := &results[i]
		fmt.Fprintf(&b, "- **%s**, %v.", r.ID, r.Took.Round(100*time.Millisecond))
		for _, n := range r.Notes {
			fmt.Fprintf(&b, " %s.", strings.ReplaceAll(n, "\n", " "))
		}
		for _, f := range r.Findings {
			text, _, _ := strings.Cut(f.Text, "\n")
			fmt.Fprintf(&b, " **%s: %s.**", f.Kind, text)
		}
		b.WriteString("\n")
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

const about = "Generated by `bench/cmd/faults`. It runs ordinary graphs, source.Stream → operators.Map → " +
	"sink.Stream, in real processes on\n" +
	"real redis-servers. Every message is counted by its id, in the streams themselves. *Lost* messages are in " +
	"neither the output\n" +
	"nor the dead letters. *Duplicated* counts extra copies in the output. The number in parentheses is how many " +
	"the faults explain:\n" +
	"the entries in flight of killed workers, and the writes whose reply was lost. A *stall* is a time without " +
	"progress while there\n" +
	"was work. The allowed stall covers a lease, the search for abandoned entries, the outage and its backoff."

// serverVersion returns the version of the server for the trials: REDISTEST_SERVER, or redis-server
// on PATH.
func serverVersion(ctx context.Context) (string, error) {
	path := cmp.Or(os.Getenv("REDISTEST_SERVER"), "redis-server")
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("faulttest: no %s: `make setup` installs redis-server (%w)", path, err)
	}
	for field := range strings.FieldsSeq(string(out)) {
		if v, ok := strings.CutPrefix(field, "v="); ok {
			return "Redis " + v, nil
		}
	}
	return "", errors.New("faulttest: the server reports no version")
}
