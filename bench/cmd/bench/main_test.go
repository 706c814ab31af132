package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func command(t *testing.T, ctx context.Context, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(ctx, args, &out, &err)
	return code, out.String(), err.String()
}

// TestJSON runs an in-process case and a Redis case on a private server, and checks the printed
// JSON.
func TestJSON(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	code, stdout, stderr := command(t, t.Context(),
		"-case", "inproc-maps,produce", "-n", "500", "-payload", "16, 64", "-reps", "2", "-json")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, stderr)
	}
	seen := make(map[string]int)
	for line := range strings.Lines(stdout) {
		var r bench.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if r.PerSecond <= 0 || r.Ratio <= 0 || r.Reference == "" || r.Reps != 2 {
			t.Errorf("%+v", r)
		}
		if r.Implementation == r.Reference {
			seen[r.Case]++
		}
	}
	if seen["inproc-maps"] != 1 || seen["produce"] != 2 {
		t.Errorf("reference lines per case: %v, want one for inproc-maps and one for each payload of produce", seen)
	}
}

func TestTableOfSome(t *testing.T) {
	code, stdout, stderr := command(t, t.Context(), "-case", "inproc", "-only", "graph,loop", "-n", "500", "-reps", "1")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, stderr)
	}
	if !strings.Contains(stdout, "inproc-workers") || strings.Contains(stdout, "closures") {
		t.Errorf("printed:\n%s", stdout)
	}
}

func TestWithoutRedis(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	t.Setenv("PATH", t.TempDir())
	code, stdout, stderr := command(t, t.Context(), "-case", "inproc-async,consume", "-n", "500", "-reps", "1")
	if code != 0 || !strings.Contains(stderr, "no redis-server on PATH") ||
		!strings.Contains(stderr, "consume: skipped") {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	if !strings.Contains(stdout, "inproc-async") {
		t.Errorf("printed:\n%s", stdout)
	}
}

func TestUnreachableRedis(t *testing.T) {
	code, _, stderr := command(t, t.Context(), "-case", "consume", "-url", "redis://127.0.0.1:1")
	if code != 1 || !strings.Contains(stderr, "127.0.0.1:1") {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-case", "nonsense"}, {"-n", "-1"}, {"-reps", "0"}, {"-payload", "7"}, {"-payload", "many"},
		{"stray"}, {"-what"}, {"-only", "nobody"},
	} {
		if code, stdout, stderr := command(t, t.Context(), args...); code != 2 || stderr == "" || stdout != "" {
			t.Errorf("%q: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	code, _, stderr := command(t, t.Context(), "-h")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"-reps", "inproc-workers", "(the reference)", "memory"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is missing in:\n%s", want, stderr)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, _, stderr := command(t, ctx, "-case", "inproc-maps", "-n", "100")
	if code != 130 || !strings.Contains(stderr, "interrupted") {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
}
