package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/bench"
)

// machine is the first line of results.jsonl.
type machine struct {
	Date    string            `json:"date"`
	Machine string            `json:"machine"`
	CPUs    int               `json:"cpus"`
	Go      string            `json:"go"`
	Redis   string            `json:"redis"`
	Reps    int               `json:"reps"`
	Peers   map[string]string `json:"peers,omitempty"` // module → version
}

// modules are the modules with their version in results.jsonl.
var modules = []string{
	"github.com/redis/go-redis/v9", "github.com/redis/rueidis", "github.com/ThreeDotsLabs/watermill",
	"github.com/ThreeDotsLabs/watermill-redisstream", "github.com/hibiken/asynq", "github.com/nats-io/nats.go",
	"github.com/nats-io/nats-server/v2", "github.com/reugn/go-streams", "github.com/destel/rill", "github.com/samber/ro",
}

func machineOf(ctx context.Context, rdb *redis.Client, reps int) machine {
	m := machine{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: runtime.GOOS + "/" + runtime.GOARCH + cpuModel(),
		CPUs: runtime.GOMAXPROCS(0), Go: runtime.Version(), Redis: "unknown", Reps: reps, Peers: map[string]string{},
	}
	info, err := rdb.InfoMap(ctx, "server").Result()
	if err == nil {
		m.Redis = info["Server"]["redis_version"]
	}
	if built, ok := debug.ReadBuildInfo(); ok {
		for _, d := range built.Deps {
			if slices.Contains(modules, d.Path) {
				m.Peers[d.Path] = d.Version
			}
		}
	}
	return m
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return ", " + strings.TrimSpace(value)
		}
	}
	return ""
}

// write writes all files of results.
func write(folder string, m machine, all []bench.Result) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var lines bytes.Buffer
	if err := json.NewEncoder(&lines).Encode(m); err != nil {
		return err
	}
	if err := bench.WriteJSON(&lines, all); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(folder, "results.jsonl"), lines.Bytes(), 0o644),
		os.WriteFile(filepath.Join(folder, "results.md"), []byte(markdown(m, all)), 0o644),
		plotRatios(filepath.Join(folder, "ratios.svg"), all),
		plotCPU(filepath.Join(folder, "cpu.svg"), all),
	)
}

// markdown returns a table for each case.
func markdown(m machine, all []bench.Result) string {
	var b strings.Builder
	fmt.Fprintf(
		&b,
		"# Results\n\nWritten by `make bench` on %s: %s, %d CPUs, %s, Redis %s. Medians of %d repetitions, in which\n"+
			"the implementations took turns. [README.md](../README.md) says how to read them.\n",
		m.Date,
		m.Machine,
		m.CPUs,
		m.Go,
		m.Redis,
		m.Reps,
	)
	last := ""
	for _, r := range all {
		if r.Case != last {
			last = r.Case
			fmt.Fprintf(
				&b,
				"\n## %s, %d B\n\n| implementation | per second | ratio to %s | p50, p99 µs | allocations | "+
					"client CPU µs | server CPU µs |\n|---|---|---|---|---|---|---|\n",
				r.Case,
				r.PayloadBytes,
				r.Reference,
			)
		}
		name, times := r.Implementation, "–"
		if r.Ours {
			name = "**" + name + "**"
		}
		if r.P50Micros > 0 {
			times = fmt.Sprintf("%.0f, %.0f", r.P50Micros, r.P99Micros)
		}
		allocs := "–"
		if r.ClientMicros > 0 {
			allocs = fmt.Sprintf("%.2f", r.Allocs)
		}
		fmt.Fprintf(
			&b,
			"| %s | %.0f | %s | %s | %s | %s | %s |\n",
			name,
			r.PerSecond,
			orDash(r.Ratio, "%.2f"),
			times,
			allocs,
			orDash(r.ClientMicros, "%.3g"),
			orDash(r.ServerMicros, "%.3g"),
		)
	}
	return b.String()
}

// ratio returns a ratio with two digits, or a dash for 0.
func ratio(v float64) string {
	switch {
	case v >= 10:
		return orDash(v, "%.0f")
	case v >= 0.1:
		return orDash(v, "%.2f")
	default:
		return orDash(v, "%.2g")
	}
}

func orDash(v float64, format string) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf(format, v)
}

// columns are the columns of the README's table. An implementation belongs to the column with
// its name, or with the prefix of its name. The first implementation of a case counts.
var columns = []struct{ title, prefix string }{
	{"this, by default", "default"}, {"go-redis by hand", "goredis-"}, {"rueidis by hand", "rueidis"},
	{"Watermill", "watermill"}, {"asynq", "asynq"}, {"NATS micro", "nats-"}, {"streamerson for Node", "streamerson-node"},
	{"go-streams", "go-streams"}, {"rill", "rill"}, {"samber/ro", "ro"},
}

// column returns the index in columns of an implementation, or -1.
func column(name string) int {
	return slices.IndexFunc(columns, func(c struct{ title, prefix string }) bool {
		return name == c.prefix || strings.HasSuffix(c.prefix, "-") && strings.HasPrefix(name, c.prefix)
	})
}

// byCase returns the results of each case by column, or nil, and the names of the cases in order.
func byCase(all []bench.Result) (names []string, rows map[string][]*bench.Result) {
	rows = make(map[string][]*bench.Result)
	for i, r := range all {
		if rows[r.Case] == nil {
			names, rows[r.Case] = append(names, r.Case), make([]*bench.Result, len(columns))
		}
		if at := column(r.Implementation); at >= 0 && rows[r.Case][at] == nil {
			rows[r.Case][at] = &all[i]
		}
	}
	return names, rows
}

// ratios returns the README's table.
func ratios(all []bench.Result) string {
	var b strings.Builder
	b.WriteString("| case | ratio to |")
	for _, c := range columns {
		b.WriteString(" " + c.title + " |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(columns)+2) + "\n")
	names, rows := byCase(all)
	for _, name := range names {
		first := cmp.Or(rows[name]...)
		if first == nil {
			continue
		}
		what := name
		if name == "latency" {
			what += " (p50, less is better)"
		}
		fmt.Fprintf(&b, "| %s | %s |", what, first.Reference)
		for _, r := range rows[name] {
			cell := "–"
			if r != nil {
				cell = ratio(r.Ratio)
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n[All results](bench/results/results.md)\n\n![Ratios of rates by case and implementation](bench/results/ratios.svg)\n")
	return b.String()
}

const begins, ends = "<!-- make bench writes the lines below -->\n", "<!-- make bench writes the lines above -->"

// refresh replaces the text between the markers in a file.
func refresh(name, text string) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(old), begins)
	_, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		return fmt.Errorf("%s has no lines %q and %q", name, strings.TrimSpace(begins), ends)
	}
	return os.WriteFile(name, []byte(before+begins+text+ends+after), 0o644)
}
