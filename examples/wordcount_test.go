package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

const allWords = "1000000" // for -top

var (
	wordPattern    = regexp.MustCompile(`[\p{L}\p{N}]+(?:['’]+[\p{L}\p{N}]+)*`)
	rowPattern     = regexp.MustCompile(`(?m)^ *(\d+)  (\S+)$`)
	settledPattern = regexp.MustCompile(
		`(?m)^settled +(\d+) lines by this process: (\d+) acked, (\d+) dead; delivered again: (\d+)$`,
	)
)

// countWords computes the expected counts, independently of the example.
func countWords(text string) map[string]int {
	counts := make(map[string]int)
	for _, w := range wordPattern.FindAllString(strings.ToLower(text), -1) {
		counts[w]++
	}
	return counts
}

// printed returns the table of words in the output.
func printed(t *testing.T, stdout string) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for _, row := range rowPattern.FindAllStringSubmatch(stdout, -1) {
		counts[row[2]] = number(t, row[1])
	}
	return counts
}

type settled struct{ lines, acked, dead, again int }

func settledIn(t *testing.T, stdout string) settled {
	t.Helper()
	m := settledPattern.FindStringSubmatch(stdout)
	if m == nil {
		t.Fatalf("nothing about what was settled in:\n%s", stdout)
	}
	return settled{number(t, m[1]), number(t, m[2]), number(t, m[3]), number(t, m[4])}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func want(t *testing.T, stdout string, all ...string) {
	t.Helper()
	for _, s := range all {
		if !strings.Contains(stdout, s) {
			t.Errorf("no %q in the output", s)
		}
	}
}

const (
	exact    = "result    equals a plain loop over the same text\n"
	nonePend = "XPENDING  0\n"
)

// bundled returns the default text and its number of lines.
func bundled(t *testing.T) (text string, lines int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("wordcount", "alice.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b), strings.Count(string(b), "\n")
}

// withPath is an environment without REDIS_URL; noServer has no redis-server on its PATH.
func withPath() []string             { return []string{"PATH=" + os.Getenv("PATH")} }
func noServer(t *testing.T) []string { return []string{"PATH=" + t.TempDir()} }
func shared(t *testing.T) []string   { return []string{patientURL(redistest.Shared(t))} }

// patientURL names a server in an environment. A reply that is late, because the machine is busy, does not count
// as lost: the write would be repeated.
func patientURL(s *redistest.Server) string { return "REDIS_URL=" + s.URL() + "?read_timeout=2m" }

func TestWordcount(t *testing.T) {
	t.Parallel()
	alice, aliceLines := bundled(t)
	odd := "One, two;\r\nthree\n\nTHREE isn’t  'quoted' — 4 été ÉTÉ\xff\n\tno end"
	file := filepath.Join(t.TempDir(), "odd.txt")
	if err := os.WriteFile(file, []byte(odd), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		env   []string
		args  []string
		stdin string
		text  string
		lines int
		says  string
	}{
		{name: "in-process server", env: noServer(t), text: alice, lines: aliceLines, says: "in-process server"},
		{name: "in-process server, handlers fail", env: noServer(t), args: []string{"-fail", "0.2"}, text: alice, lines: aliceLines},
		{name: "private redis-server", env: withPath(), text: alice, lines: aliceLines, says: "private redis-server"},
		{name: "REDIS_URL", env: shared(t), text: alice, lines: aliceLines, says: "REDIS_URL"},
		{name: "handlers fail", env: shared(t), args: []string{"-fail", "0.2", "-seed", "7"}, text: alice, lines: aliceLines},
		{name: "one shard", env: shared(t), args: []string{"-shards", "1"}, text: alice, lines: aliceLines},
		{name: "file", env: shared(t), args: []string{file}, text: odd, lines: 5},
		{name: "stdin", env: shared(t), args: []string{"-"}, stdin: odd, text: odd, lines: 5},
		{name: "empty", env: shared(t), args: []string{"-"}, stdin: "", text: "", lines: 0},
		{name: "empty, in-process server", env: noServer(t), args: []string{"-"}, stdin: "", text: "", lines: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"-top", allWords}, c.args...)
			p := start(t, c.env, strings.NewReader(c.stdin), "wordcount", args...)
			if code := p.wait(t); code != 0 {
				t.Fatalf("exit status %d", code)
			}
			stdout := p.stdout.text()
			if diff := cmp.Diff(countWords(c.text), printed(t, stdout)); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(settled{lines: c.lines, acked: c.lines}, settledIn(t, stdout),
				cmp.AllowUnexported(settled{})); diff != "" {
				t.Errorf("settled (-want +got):\n%s", diff)
			}
			want(t, stdout, exact, nonePend, "flowchart", "partition")
			want(t, p.stderr.text(), c.says)
			if left, err := os.ReadDir(p.tmp); err != nil || len(left) > 0 {
				t.Errorf("it left %v in the folder for temporary files, %v", left, err)
			}
		})
	}
}

func TestWordcountLeavesNoKeys(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	env := []string{"REDIS_URL=" + server.URL()}
	run(t, env, nil, "wordcount")
	rdb := server.Client(t)
	if keys := rdb.Keys(context.Background(), "*").Val(); len(keys) > 0 {
		t.Errorf("a run without -name left %q", keys)
	}
	run(t, env, nil, "wordcount", "-keep")
	if keys := rdb.Keys(context.Background(), "*").Val(); len(keys) != 3 {
		t.Errorf("a run with -keep left %q", keys)
	}
}

// workers starts two processes that share a name. They begin together, when the text is there.
func workers(t *testing.T, rdb *redis.Client, args ...string) (name string, loader, joiner *process) {
	t.Helper()
	ctx := context.Background()
	text, _ := bundled(t)
	name = redistest.Key(t)
	args = append([]string{"-name", name, "-slow", "10ms", "-top", allWords}, args...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	loader = start(t, shared(t), r, "wordcount", append(slices.Clone(args), "-")...)
	r.Close()
	redistest.Soon(t, "the name is taken", func() bool { return rdb.Exists(ctx, name+":state").Val() == 1 })
	joiner = start(t, shared(t), nil, "wordcount", append(slices.Clone(args), "-join")...)
	redistest.Soon(t, "the other one waits for it", func() bool {
		return strings.Contains(joiner.stderr.text(), "waiting until")
	})
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	return name, loader, joiner
}

// killed waits for counts, and kills a process while it has lines in flight. It returns false if it comes too late.
func killed(t *testing.T, rdb *redis.Client, name string, dies *process) (killed bool) {
	t.Helper()
	ctx := context.Background()
	mine := fmt.Sprintf("-%d-", dies.cmd.Process.Pid)
	has := func() bool {
		pending, err := rdb.XPending(ctx, name+":lines", "count").Result()
		if err != nil {
			return false
		}
		for consumer := range pending.Consumers {
			if strings.Contains(consumer, mine) {
				return true
			}
		}
		return false
	}
	redistest.Soon(t, "it has lines, and counts are written", func() bool {
		if dies.ended() {
			return true
		}
		if !has() || rdb.XLen(ctx, name+":counts").Val() == 0 {
			return false
		}
		dies.signal(t, syscall.SIGSTOP)
		has() // behind it, the server has what the process sent before
		if killed = has(); !killed {
			dies.signal(t, syscall.SIGCONT)
		}
		return killed
	})
	dies.signal(t, syscall.SIGKILL)
	dies.wait(t)
	return killed
}

func TestWordcountTwoProcessesShareTheWork(t *testing.T) {
	t.Parallel()
	text, lines := bundled(t)
	_, a, b := workers(t, redistest.Shared(t).Client(t))
	sum := 0
	for _, p := range []*process{a, b} {
		if code := p.wait(t); code != 0 {
			t.Fatalf("exit status %d", code)
		}
		stdout := p.stdout.text()
		s := settledIn(t, stdout)
		if s.lines == 0 || s.again != 0 {
			t.Errorf("a process settled %+v", s)
		}
		sum += s.lines
		want(t, stdout, exact, nonePend)
		if diff := cmp.Diff(countWords(text), printed(t, stdout)); diff != "" {
			t.Errorf("words (-want +got):\n%s", diff)
		}
	}
	if sum != lines {
		t.Errorf("they settled %d lines together, want %d", sum, lines)
	}
}

func TestWordcountKilledWorkerLosesNothing(t *testing.T) {
	t.Parallel()
	text, _ := bundled(t)
	for _, victim := range []string{"loader", "joiner"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Shared(t).Client(t)
			var name string
			var dies, lives *process
			for try := 0; ; try++ { // on a busy machine, this test may be too late
				name, dies, lives = workers(t, rdb, "-lease", "1s")
				if victim == "joiner" {
					dies, lives = lives, dies
				}
				if killed(t, rdb, name, dies) {
					break
				}
				if try == 5 {
					t.Fatal("nothing was pending when the worker died: the test shows nothing")
				}
			}
			if code := lives.wait(t); code != 0 {
				t.Fatalf("exit status %d", code)
			}
			stdout := lives.stdout.text()
			if s := settledIn(t, stdout); s.again == 0 || s.dead != 0 {
				t.Errorf("the survivor settled %+v", s)
			}
			want(t, stdout, nonePend)
			if pending := rdb.XPending(context.Background(), name+":lines", "count").Val(); pending == nil ||
				pending.Count != 0 {
				t.Errorf("pending in the end: %+v", pending)
			}
			got, stored := printed(t, stdout), storedCounts(t, rdb, name)
			if diff := cmp.Diff(stored, got); diff != "" {
				t.Errorf("the words printed are not those in the stream (-stream +printed):\n%s", diff)
			}
			for w, n := range countWords(text) {
				if stored[w] < n {
					t.Errorf("%q: %d instead of %d: words were lost", w, stored[w], n)
				}
			}
		})
	}
}

// storedCounts adds up the counts stream.
func storedCounts(t *testing.T, rdb *redis.Client, name string) map[string]int {
	t.Helper()
	entries, err := rdb.XRange(context.Background(), name+":counts", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for _, e := range entries {
		var tally struct{ Words map[string]int }
		if err := json.Unmarshal([]byte(e.Values["data"].(string)), &tally); err != nil {
			t.Fatal(err)
		}
		for w, n := range tally.Words {
			counts[w] += n
		}
	}
	return counts
}

func TestWordcountInterrupted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	text, lines := bundled(t)
	rdb := redistest.Shared(t).Client(t)
	name := redistest.Key(t)
	first := start(t, shared(t), nil, "wordcount", "-name", name, "-slow", "10ms")
	redistest.Soon(t, "counts are written", func() bool { return rdb.XLen(ctx, name+":counts").Val() > 0 })
	first.signal(t, syscall.SIGINT)
	if code := first.wait(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	want(t, first.stdout.text(), "left ", "-join finishes them")
	for consumer, n := range rdb.XPending(ctx, name+":lines", "count").Val().Consumers {
		if consumer != redisio.ReleasedConsumer { // which holds lines that were read but not begun
			t.Errorf("%d lines are pending for %s", n, consumer)
		}
	}
	want(t, first.stderr.text(), "interrupted")

	again := start(t, shared(t), nil, "wordcount", "-name", name)
	if code := again.wait(t); code != 1 {
		t.Errorf("loading an unfinished name again: exit status %d", code)
	}
	want(t, again.stderr.text(), "not finished")

	stdout := run(t, shared(t), nil, "wordcount", "-name", name, "-join", "-top", allWords)
	want(t, stdout, exact, nonePend)
	if diff := cmp.Diff(countWords(text), printed(t, stdout)); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
	a, b := settledIn(t, first.stdout.text()), settledIn(t, stdout)
	if a.lines == 0 || b.lines == 0 || a.lines+b.lines != lines {
		t.Errorf("settled %d and then %d of %d lines", a.lines, b.lines, lines)
	}

	// The name is free: the new run replaces the finished one.
	want(t, run(t, shared(t), nil, "wordcount", "-name", name), exact)
}

func TestWordcountTellsAWrongResult(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rdb := redistest.Shared(t).Client(t)
	for what, tamper := range map[string]func(counts string) error{
		"too many": func(counts string) error {
			return rdb.XAdd(ctx, &redis.XAddArgs{Stream: counts, Values: []any{"data", `{"words":{"alice":1}}`}}).Err()
		},
		"too few": func(counts string) error {
			first, err := rdb.XRangeN(ctx, counts, "-", "+", 1).Result()
			if err == nil {
				err = rdb.XDel(ctx, counts, first[0].ID).Err()
			}
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			name := redistest.Key(t)
			run(t, shared(t), nil, "wordcount", "-name", name)
			if err := tamper(name + ":counts"); err != nil {
				t.Fatal(err)
			}
			p := start(t, shared(t), nil, "wordcount", "-name", name, "-join") // finds nothing to do, and reports
			if code := p.wait(t); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			want(t, p.stdout.text(), "result    WRONG")
			want(t, p.stderr.text(), "differ from a plain loop")
		})
	}
}

func TestWordcountInterruptedWhileLoading(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rdb := redistest.Shared(t).Client(t)
	name := redistest.Key(t)
	r, w, err := os.Pipe() // standard input that does not end
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := start(t, shared(t), r, "wordcount", "-name", name, "-")
	r.Close()
	if _, err := io.WriteString(w, "a line\n"); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the line is loaded", func() bool { return rdb.XLen(ctx, name+":lines").Val() == 1 })
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	want(t, p.stdout.text(), "interrupted while loading")
	if n := rdb.Exists(ctx, name+":lines", name+":state").Val(); n != 0 {
		t.Error("it left what it had loaded")
	}
}

func TestWordcountSecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	name := redistest.Key(t)
	p := start(t, shared(t), nil, "wordcount", "-name", name, "-slow", "10m")
	redistest.Soon(t, "it works", func() bool {
		pending, err := rdb.XPending(context.Background(), name+":lines", "count").Result()
		return err == nil && pending.Count > 0
	})
	p.signal(t, syscall.SIGINT)
	redistest.Soon(
		t,
		"it says that it drains",
		func() bool { return strings.Contains(p.stderr.text(), "Ctrl-C again") },
	)
	redistest.Soon(t, "it ends", func() bool {
		p.signal(t, syscall.SIGINT) // again, in case the example still handles the signal
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGINT {
		t.Errorf("it ended by %v, want by the signal", p.cmd.ProcessState)
	}
}
