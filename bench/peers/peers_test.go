package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/bench"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	if os.Getenv(natsRole) != "" {
		if err := serveNATS(); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// TestPeers runs each peer's implementation of each case once, with few messages.
func TestPeers(t *testing.T) {
	nats, err := startNATS()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := nats.close(); err != nil {
			t.Error(err)
		}
	}()
	cases, err := selected("all,op", nats)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redistest.Start(t).Client(t)
	ran := make(map[string]int)
	for _, c := range cases {
		own, err := bench.Select(c.Name)
		if err != nil {
			t.Fatal(err)
		}
		c.Implementations = c.Implementations[len(own[0].Implementations):]
		if len(c.Implementations) == 0 {
			continue
		}
		n := 600
		if c.Name == "latency" {
			n = 30
		}
		for i := range c.Implementations {
			c.Implementations[i].Slow = 0
		}
		t.Run(c.Name, func(t *testing.T) {
			err := bench.Run(t.Context(), bench.Options{
				Cases: []bench.Case{c}, N: n, Reps: 1, Redis: rdb,
				Each: func(results []bench.Result) {
					for _, r := range results {
						if ran[r.Implementation]++; r.PerSecond <= 0 || column(r.Implementation) < 0 {
							t.Errorf("%+v", r)
						}
					}
				},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for name, want := range map[string]int{
		"watermill": 4, "rueidis": 8, "asynq": 3, "nats-micro": 4, "go-streams": 16, "rill": 12, "ro": 19,
	} {
		if ran[name] != want {
			t.Errorf("%s ran %d cases, want %d", name, ran[name], want)
		}
	}
}

// TestRun runs the command for two cases, and checks the files that it writes.
func TestRun(t *testing.T) {
	out := t.TempDir()
	readme := filepath.Join(out, "README.md")
	if err := os.WriteFile(readme, []byte("before\n"+begins+"old\n"+ends+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	err := run(
		t.Context(),
		[]string{"-case", "inproc-maps,produce", "-n", "500", "-reps", "1", "-o", out},
		&stdout,
		&stderr,
	)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for name, want := range map[string][]string{
		"results.jsonl": {`{"date":"`, `"redis":"`, `{"case":"produce","implementation":"watermill"`},
		"results.md":    {"## produce, 100 B", "| **default** |", "| asynq |"},
		"ratios.svg":    {"<svg", "samber/ro"}, "cpu.svg": {"<svg"},
	} {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(b), w) {
				t.Errorf("%s lacks %q", name, w)
			}
		}
	}
	if err := refresh(readme, "new\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(readme); err != nil || string(b) != "before\n"+begins+"new\n"+ends+"\nafter\n" {
		t.Errorf("%v, %q", err, b)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := run(ctx, []string{"-case", "inproc-maps", "-n", "100", "-o", ""}, &out, &out); !errors.Is(
		err,
		context.Canceled,
	) {
		t.Error(err)
	}
}

func TestRatios(t *testing.T) {
	got := ratios([]bench.Result{
		{Case: "consume", Implementation: "default", Ratio: 0.91, Reference: "limit"},
		{Case: "consume", Implementation: "goredis-readahead", Ratio: 0.75, Reference: "limit"},
		{Case: "consume", Implementation: "goredis-one-by-one", Ratio: 0.01, Reference: "limit"},
	})
	if want := "| consume | limit | 0.91 | 0.75 | – | – |"; !strings.Contains(got, want) {
		t.Errorf("%q is missing in:\n%s", want, got)
	}
}
