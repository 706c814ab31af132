package examples

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// idPattern matches the entry id that read prints before each line.
var idPattern = regexp.MustCompile(`(?m)^\d+-\d+  `)

func printedLines(p *process) []string {
	text := strings.TrimSuffix(idPattern.ReplaceAllString(p.stdout.text(), ""), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// stop ends read as a user does.
func stop(t *testing.T, p *process) {
	t.Helper()
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t); code != 0 {
		t.Errorf("%s: exit status %d after an interrupt", p.name, code)
	}
}

func TestReadAndPipeSideBySide(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb, env := server.Client(t), []string{patientURL(server)}
	reader := start(t, env, nil, "read", "-stream", "s", "-graph")
	redistest.Soon(t, "read waits for entries", func() bool {
		clients, err := rdb.ClientList(context.Background()).Result()
		return err == nil && strings.Contains(clients, "cmd=xread")
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	writer := start(t, env, r, "pipe", "-stream", "s", "-graph")
	r.Close()
	var written []string
	for i := range 5 { // each line arrives before the next is written
		line := fmt.Sprintf("line %d, “ünïcödé”", i)
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			t.Fatal(err)
		}
		written = append(written, line)
		redistest.Soon(t, line+" arrives", func() bool { return len(printedLines(reader)) > i })
	}
	w.Close()
	if code := writer.wait(t); code != 0 {
		t.Errorf("pipe: exit status %d", code)
	}
	stop(t, reader)
	if diff := cmp.Diff(written, printedLines(reader)); diff != "" {
		t.Errorf("lines (-written +read):\n%s", diff)
	}
	want(t, reader.stderr.text(), "flowchart")
	want(t, writer.stderr.text(), "flowchart")
}

func TestPipeSlowly(t *testing.T) {
	t.Parallel()
	rdb, took := redistest.Shared(t).Client(t), 0
	for try := 0; took < 1000 && try < 5; try++ { // the first may have been late
		key := redistest.Key(t)
		p := start(t, shared(t), strings.NewReader("a\nb\nc\nd\n"), "pipe", "-stream", key, "-every", "500ms")
		if code := p.wait(t); code != 0 {
			t.Fatalf("exit status %d", code)
		}
		entries := rdb.XRange(context.Background(), key, "-", "+").Val()
		if len(entries) != 4 {
			t.Fatalf("%d entries, want 4", len(entries))
		}
		took = ms(t, entries[3]) - ms(t, entries[0])
	}
	if took < 1000 {
		t.Errorf("the lines were written within %d ms, want 1500", took)
	}
}

func ms(t *testing.T, e redis.XMessage) int {
	t.Helper()
	at, _, _ := strings.Cut(e.ID, "-")
	return number(t, at)
}

func TestReadFrom(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	key, rdb := redistest.Key(t), redistest.Shared(t).Client(t)
	for i := range 4 {
		id := fmt.Sprintf("%d-0", 1700000000000+1000*i)
		if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: key, ID: id,
			Values: []any{"data", fmt.Sprint("entry ", i)}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	rdb.XAdd(ctx, &redis.XAddArgs{Stream: key, ID: "1800000000000-0", Values: []any{"b", "2", "a", "1 1", "b", "3"}})
	all := []string{"entry 0", "entry 1", "entry 2", "entry 3", `b="2" a="1 1" b="3"`}
	for from, skipped := range map[string]int{"0": 0, "1700000001000-0": 2, "2023-11-14T22:13:22Z": 2,
		"1700000003000": 4} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			p := start(t, shared(t), nil, "read", "-stream", key, "-from", from)
			redistest.Soon(t, "all is printed", func() bool { return len(printedLines(p)) >= len(all)-skipped })
			stop(t, p)
			if diff := cmp.Diff(all[skipped:], printedLines(p)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadGroupSharesTheEntries(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	key, rdb := redistest.Key(t), redistest.Shared(t).Client(t)
	readers := []*process{
		start(t, shared(t), nil, "read", "-stream", key, "-group", "g", "-from", "0"),
		start(t, shared(t), nil, "read", "-stream", key, "-group", "g", "-from", "0"),
	}
	text, _ := bundled(t)
	run(t, shared(t), nil, "pipe", "-stream", key, filepath.Join("wordcount", "alice.txt"))
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	redistest.Soon(t, "both have printed everything", func() bool {
		return len(printedLines(readers[0]))+len(printedLines(readers[1])) >= len(lines)
	})
	stop(t, readers[0])
	stop(t, readers[1])
	got := slices.Sorted(slices.Values(append(printedLines(readers[0]), printedLines(readers[1])...)))
	if diff := cmp.Diff(slices.Sorted(slices.Values(lines)), got); diff != "" {
		t.Errorf("lines, sorted (-want +got):\n%s", diff)
	}
	if pending := rdb.XPending(ctx, key, "g").Val(); pending == nil || pending.Count != 0 {
		t.Errorf("pending: %+v", pending)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	key, rdb := redistest.Key(t), redistest.Shared(t).Client(t)
	if err := rdb.Set(context.Background(), key, "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	nobody := []string{"REDIS_URL=redis://127.0.0.1:1"}
	for _, c := range []struct {
		env  []string
		args string
		code int
		says string
	}{
		{nil, "wordcount -fail 1 -shards 0", 2, "-fail 1: give 0 to 0.9\n-shards 0: give 1 to 64"},
		{nil, "wordcount -fail NaN", 2, "-fail NaN"},
		{nil, "wordcount -top -1 -slow -1s -lease 1ms", 2, "-lease 1ms: give 100ms or more"},
		{nil, "wordcount -join", 2, "-join without -name"},
		{nil, "wordcount -nonsense", 2, "-nonsense"},
		{nil, "wordcount a b", 2, "2 files: give one"},
		{nil, "wordcount -name x -join", 1, "set REDIS_URL"},
		{nil, "wordcount /no/such/file", 1, "/no/such/file"},
		{nil, "wordcount .", 1, "is a folder"},
		{nobody, "wordcount", 1, "connection refused"},
		{[]string{"REDIS_URL=localhost"}, "wordcount", 1, "has no scheme"},
		{shared(t), "wordcount -name " + key + "-none -join", 1, "nothing is loaded under -name"},
		{nil, "read -from yesterday", 2, "is neither now, 0, an id"},
		{nil, "read file", 2, `unexpected argument "file"`},
		{nobody, "read", 1, "set REDIS_URL to one that runs"},
		{shared(t), "read -stream " + key, 1, "WRONGTYPE"},
		{shared(t), "read -stream=", 1, "Key"},
		{nil, "pipe -every -1s", 2, "-every 0 or more"},
		{nil, "pipe a b", 2, "one file"},
		{nil, "pipe /no/such/file", 1, "/no/such/file"},
		{nobody, "pipe", 1, "set REDIS_URL to one that runs"},
		{shared(t), "pipe -stream " + key, 1, "WRONGTYPE"},
		{nil, "chat -role nobody", 2, "-role nobody: give all, worker, gateway"},
		{nil, "chat -role worker", 2, "set REDIS_URL, for all of them"},
		{nil, "chat here", 2, `unexpected argument "here"`},
		{nobody, "chat -addr localhost:0", 1, "connection refused"},
		{nil, "game -round 1s -shards 0", 2, "-shards 0: give 1 to 16\n-round 1s"},
		{nil, "game -addr nowhere", 1, "choose an address of this machine"},
		{nobody, "game -role world", 1, "connection refused"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(c.args)
			p := start(t, c.env, strings.NewReader("a line\n"), args[0], args[1:]...)
			if code := p.wait(t); code != c.code {
				t.Errorf("exit status %d, want %d", code, c.code)
			}
			want(t, p.stderr.text(), c.says)
			if strings.Contains(p.stderr.text(), "goroutine ") {
				t.Error("it panicked")
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{"wordcount": "-join", "read": "-group", "pipe": "-every",
		"chat": "-role worker", "game": "-role gateway -addr localhost:3004"} {
		p := start(t, nil, nil, name, "-h")
		if code := p.wait(t); code != 0 {
			t.Errorf("%s -h: exit status %d", name, code)
		}
		want(t, p.stdout.text()+p.stderr.text(), "Usage", says)
	}
}
