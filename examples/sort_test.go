package examples

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

const rightOrder = "the output is in order, and has the lines of the input"

// sortedFile sorts text by the example, and compares the result to that of a plain sort.
func sortedFile(t *testing.T, env []string, text string, args ...string) {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, env, nil, "sort", append([]string{"-in", in, "-out", out, "-check"}, args...)...)
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	want(t, p.stdout.text(), rightOrder, "flowchart", "MB/s", "merge")
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n")+"\n", "\n")
	lines = lines[:len(lines)-1]
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[:len(a)-1], b[:len(b)-1]) })
	if text == "" {
		lines = nil
	}
	if string(got) != strings.Join(lines, "") {
		t.Errorf("%d bytes, which differ from a plain sort", len(got))
	}
	if left, err := os.ReadDir(p.tmp); err != nil || len(left) > 0 {
		t.Errorf("it left %v in the folder for temporary files, %v", left, err)
	}
}

func TestSort(t *testing.T) {
	t.Parallel()
	alice, _ := bundled(t)
	for name, text := range map[string]string{
		"a text":        alice,
		"equal lines":   strings.Repeat("the same\n", 3000),
		"bytes, no end": "b\x00\xff\n\n\xfe\na\r\n\nz" + strings.Repeat("x", 5000) + "\na b",
		"one line":      "alone",
		"nothing":       "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sortedFile(t, shared(t), text, "-chunk", "2KB", "-workers", "2", "-ranges", "3")
		})
	}
}

var workerPattern = regexp.MustCompile(`worker \d has pid (\d+)`)

// One worker is killed while it partitions and sorts. The result is right, and nothing is left.
func TestSortKilledWorker(t *testing.T) {
	t.Parallel()
	for try := range 5 { // on a busy machine, this test may be too late
		if sortKilledWorker(t, try) {
			return
		}
	}
	t.Error("all blocks were sorted when the worker was killed: the test shows nothing")
}

// sortKilledWorker reports whether the worker was killed in time.
func sortKilledWorker(t *testing.T, try int) bool {
	t.Helper()
	server := redistest.Start(t)
	rdb := server.Client(t)
	name, ctx := fmt.Sprint(redistest.Key(t), try), context.Background()
	dir := t.TempDir()
	p := start(
		t,
		[]string{"REDIS_URL=" + server.URL()},
		nil,
		"sort",
		"-size",
		"16MB",
		"-chunk",
		"128KB",
		"-ranges",
		"4",
		"-lease",
		"1s",
		"-name",
		name,
		"-dir",
		dir,
		"-check",
	)
	runs := func() int {
		all, err := filepath.Glob(filepath.Join(dir, "range-*", "*.run"))
		if err != nil {
			t.Error(err)
		}
		return len(all)
	}
	redistest.Soon(t, "blocks are sorted", func() bool { return runs() >= 20 })
	pids := workerPattern.FindAllStringSubmatch(p.stderr.text(), -1)
	if len(pids) != 3 {
		t.Fatalf("workers %v", pids)
	}
	err := syscall.Kill(number(t, pids[1][1]), syscall.SIGKILL)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	atKill := runs()
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	want(t, p.stdout.text(), rightOrder)
	if total := runs(); atKill >= total {
		t.Logf("%d of %d blocks were sorted when the worker was killed", atKill, total)
		return false
	}
	want(t, p.stderr.text(), "worker 2 has ended")
	for _, key := range rdb.Keys(ctx, "*").Val() {
		if ttl := rdb.PTTL(ctx, key).Val(); ttl <= 0 {
			t.Errorf("%s does not expire", key)
		}
	}
	return true
}

// Ctrl-C ends all processes, without an error, and deletes the temporary files.
func TestSortInterrupted(t *testing.T) {
	t.Parallel()
	p := start(t, shared(t), nil, "sort", "-size", "64MB", "-chunk", "256KB")
	redistest.Soon(t, "it partitions", func() bool {
		if p.ended() { // this test was late
			p = start(t, shared(t), nil, "sort", "-size", "64MB", "-chunk", "256KB")
		}
		all, _ := filepath.Glob(filepath.Join(p.tmp, "sort-*", "range-*", "*.run"))
		return len(all) > 0
	})
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	for _, pid := range workerPattern.FindAllStringSubmatch(p.stderr.text(), -1) {
		if err := syscall.Kill(number(t, pid[1]), 0); err == nil {
			t.Errorf("worker %s still runs", pid[1])
		}
	}
	if left, err := os.ReadDir(p.tmp); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// A terminal shows the phase and what is left of it, on one line.
func TestSortProgress(t *testing.T) {
	t.Parallel()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "sort"), "-size", "32MB", "-chunk", "128KB")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.Env = append(shared(t), "TMPDIR="+t.TempDir())
	screen, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	var shown output
	var copied sync.WaitGroup
	copied.Go(func() { _, _ = io.Copy(&shown, screen) }) // ends with an error when the process does
	redistest.Soon(t, "the line is there", func() bool {
		return regexp.MustCompile(`\r\x1b\[Kpartition and sort: \d+\.\d s, \d+ entries are left`).MatchString(shown.text())
	})
	cancel()
	_ = cmd.Wait() // it says that its context is done
	copied.Wait()
	if err := screen.Close(); err != nil || cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("%v, exit status %d\n%s", err, cmd.ProcessState.ExitCode(), shown.text())
	}
}

func TestSortMistakes(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"-size 0":      "at least 1 byte",
		"-size many":   "500KB or 1GB",
		"-role worker": "set REDIS_URL, -name and -dir",
		"-workers 0":   "give 1 to 100",
	} {
		p := start(t, withPath(), nil, "sort", strings.Fields(args)...)
		if code := p.wait(t); code != 2 {
			t.Errorf("%s: exit status %d", args, code)
		}
		want(t, p.stderr.text(), says)
	}
	missing := start(t, shared(t), nil, "sort", "-in", filepath.Join(t.TempDir(), "missing"))
	if code := missing.wait(t); code != 1 {
		t.Errorf("a missing file: exit status %d", code)
	}
	long := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(long, bytes.Repeat([]byte("x"), 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, shared(t), nil, "sort", "-in", long)
	if code := p.wait(t); code != 1 {
		t.Errorf("a line that is too long: exit status %d", code)
	}
	want(t, p.stderr.text(), "more than 256 KiB")
	// Samples do not reach this one. The chunk becomes a dead letter, and its lines are missing.
	hidden := bytes.Repeat([]byte("short\n"), 4<<20/6)
	copy(hidden[len(hidden)*55/100:], bytes.Repeat([]byte("x"), 300<<10))
	if err := os.WriteFile(long, hidden, 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, shared(t), nil, "sort", "-in", long)
	if code := p.wait(t); code != 1 {
		t.Errorf("a hidden line that is too long: exit status %d", code)
	}
	want(t, p.stderr.text(), "the output has 0 bytes", "a worker could not read")
}
