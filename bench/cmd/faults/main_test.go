package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/bench/faulttest"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	faulttest.Worker()
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

func command(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestRunOne(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report.md")
	code, stdout, stderr := command(t.Context(), "-scenario", "R10 destroy", "-n", "1200", "-o", report)
	if code != 0 || !strings.Contains(stdout, "pass") {
		t.Fatalf("exit status %d\n%s\n%s", code, stdout, stderr)
	}
	text, err := os.ReadFile(report)
	if err != nil || !strings.Contains(string(text), "1 of 1 trials passed") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-scenario", "R99"}, {"-n", "-1"}, {"-no-such-flag"}, {"R1"}} {
		if code, _, stderr := command(t.Context(), args...); code != 2 || stderr == "" {
			t.Errorf("%v: exit status %d, %q", args, code, stderr)
		}
	}
	code, _, stderr := command(t.Context(), "-h")
	if code != 0 || !strings.Contains(stderr, "R1 ") || !strings.Contains(stderr, "P5") {
		t.Errorf("-h: exit status %d\n%s", code, stderr)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code, _, stderr := command(ctx, "-scenario", "R1"); code != 130 || !strings.Contains(stderr, "interrupted") {
		t.Errorf("exit status %d, %q", code, stderr)
	}
}
