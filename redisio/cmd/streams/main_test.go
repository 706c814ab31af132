package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

var update = flag.Bool("update", false, "write the golden files")

// helpers are what a child process of a test does: helpEnv names one.
var helpers = make(map[string]func())

const helpEnv = "STREAMS_TEST_HELPER"

func TestMain(m *testing.M) {
	if help := os.Getenv(helpEnv); help != "" { // this process is the command in a terminal
		helpers[help]()
		return
	}
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

// cet is the zone of the tests.
var cet = time.FixedZone("CET", 3600)

// stand is a server with the keys of one test, and the environment of the command.
type stand struct {
	rdb   *redis.Client
	url   string
	key   string
	stdin string
	asked func() // called when the command reads its answer
}

// Read is the command's standard input.
func (s *stand) Read(b []byte) (int, error) {
	if s.asked != nil {
		s.asked()
		s.asked = nil
	}
	n, err := strings.NewReader(s.stdin).Read(b)
	return n, err
}

func newStand(t *testing.T) *stand {
	s := redistest.Shared(t)
	return &stand{rdb: s.Client(t), url: s.URL(), key: redistest.Key(t)}
}

// do runs a command line and returns its exit code and output. KEY in it is replaced by the test's
// key.
func (s *stand) do(t *testing.T, line string) (code int, out, errs string) {
	t.Helper()
	return s.run(t, t.Context(), strings.Fields(line)...)
}

func (s *stand) run(t *testing.T, ctx context.Context, args ...string) (code int, out, errs string) {
	t.Helper()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "KEY", s.key)
	}
	var o, e bytes.Buffer
	env := func(name string) string {
		if name == "REDIS_URL" {
			return s.url
		}
		return ""
	}
	code = run(ctx, args, stdio{s, &o, &e, env, cet})
	clean := func(b *bytes.Buffer) string { return strings.ReplaceAll(b.String(), s.key, "KEY") }
	return code, clean(&o), clean(&e)
}

// want runs a command line that must succeed, and returns its output.
func (s *stand) want(t *testing.T, line string, code int) string {
	t.Helper()
	got, out, errs := s.do(t, line)
	if got != code {
		t.Fatalf("streams %s: exit code %d, want %d\n%s%s", line, got, code, out, errs)
	}
	return out + errs
}

func (s *stand) add(t *testing.T, key, id string, fields ...string) {
	t.Helper()
	if err := s.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: id, Values: fields}).Err(); err != nil {
		t.Fatal(err)
	}
}

// golden compares output to a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), -update writes it:\n%s", name, diff)
	}
}

// graveyard fills KEY:dead.
func (s *stand) graveyard(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	s.add(
		t,
		s.key+":dead",
		"1767323045007-0",
		"data",
		`{"sku":"tea"}`,
		"traceparent",
		"00-abc",
		"dead:error",
		"post: dial tcp: connection refused\nsecond line",
		"dead:cause",
		"*net.OpError: dial tcp: connection refused",
		"dead:graph",
		"billing",
		"dead:stage",
		"post",
		"dead:attempts",
		"5",
		"dead:id",
		"1767323000000-0",
		"dead:key",
		s.key,
		"dead:group",
		"g",
		"dead:time",
		at.Format(time.RFC3339Nano),
	)
	s.add(
		t,
		s.key+":dead",
		"1767323045008-0",
		"data",
		"\x1b[31mred\x1b[0m \xff\u202e",
		"dead:error",
		"panic: no\x07 price",
		"dead:graph",
		"billing",
		"dead:stage",
		"price",
		"dead:attempts",
		"1",
		"dead:id",
		"1767323000001-0",
		"dead:key",
		s.key,
		"dead:group",
		"g",
		"dead:time",
		at.Format(time.RFC3339Nano),
		"dead:stack",
		"goroutine 1 [running]:\nmain.price(0x1)\n\tprice.go:12 +0x1d\n",
	)
	s.add(t, s.key+":dead", "1767409445009-0", "payload", strings.Repeat("long ", 200), "reason_poisoned", "by others")
	s.add(t, s.key+":dead", "1767409445010-0", "dead:error", "redisio: tombstone", "dead:id", "1-1", "dead:key", s.key)
}

func TestDeadGolden(t *testing.T) {
	s := newStand(t)
	s.graveyard(t)
	for name, line := range map[string]string{
		"dead-list":       "dead list KEY:dead",
		"dead-list-full":  "dead list KEY:dead -full",
		"dead-list-stage": "dead list -stage price KEY:dead",
		"dead-list-error": "dead list KEY:dead -error operror",
		"dead-list-since": "dead list KEY:dead -since 2026-01-03 -limit 1",
		"dead-list-json":  "dead list KEY:dead -json",
		"dead-list-none":  "dead list KEY",
		"dead-show":       "dead show KEY:dead 1767323045007-0 1767323045008-0 1767409445009-0 1767409445010-0",
		"dead-show-full":  "dead show KEY:dead 1767409445009-0 -full",
		"dead-show-json":  "dead show -json KEY:dead 1767323045008-0 1767323045007-0",
		"dead-replay-dry": "dead replay KEY:dead -graph billing -dry-run",
		"dead-drop-dry":   "dead drop KEY:dead -all -dry-run",
		"peek":            "peek KEY:dead -n 2",
		"peek-json":       "peek KEY:dead -n 3 -json",
		"ls":              "ls KEY*",
		"ls-json":         "-json ls KEY*",
	} {
		golden(t, name, s.want(t, line, exitFine))
	}
	if n := s.rdb.XLen(t.Context(), s.key+":dead").Val(); n != 4 {
		t.Errorf("looking left %d dead letters", n)
	}
}

func TestDeadReplay(t *testing.T) {
	s := newStand(t)
	s.graveyard(t)
	out := s.want(t, "dead replay KEY:dead -stage post", exitFine)
	if out != "replayed 1 of 1\n" {
		t.Errorf("%q", out)
	}
	got := s.rdb.XRange(t.Context(), s.key, "-", "+").Val()
	if len(got) != 1 || !cmp.Equal(got[0].Values, map[string]any{"data": `{"sku":"tea"}`, "traceparent": "00-abc"}) {
		t.Errorf("%v", got)
	}
	s.want(t, "dead replay KEY:dead", exitUsage)
	if out := s.want(t, "dead replay KEY:dead -all", exitRefused); !strings.Contains(out, "replayed 1 of 3") ||
		!strings.Contains(out, "1 left: they have no fields") || !strings.Contains(out, "set -to") {
		t.Errorf("%q", out)
	}
	s.want(t, "dead replay KEY:dead -all -to KEY:nowhere", exitRefused)
	if out := s.want(t, "dead replay KEY:dead -all -to KEY:new -create -rate 1000 -keep-reason -json",
		exitFine); !strings.Contains(
		out,
		`"replayed":1`,
	) {
		t.Errorf("%q", out)
	}
	if out := s.want(t, "dead replay KEY:dead -id 9-9", exitFine); !strings.Contains(out, "1 not there any more") {
		t.Errorf("%q", out)
	}
	if out := s.want(t, "dead replay KEY:dead -stage none", exitFine); !strings.Contains(out, "none such") {
		t.Errorf("%q", out)
	}
}

func TestDeadDrop(t *testing.T) {
	s := newStand(t)
	s.graveyard(t)
	left := func() int64 { return s.rdb.XLen(t.Context(), s.key+":dead").Val() }
	s.want(t, "dead drop KEY:dead", exitUsage)
	for _, answer := range []string{"", "n\n", "\n"} {
		s.stdin = answer
		if out := s.want(t, "dead drop KEY:dead -all", exitRefused); !strings.Contains(out, "Delete 4 dead letters") ||
			left() != 4 {
			t.Errorf("answer %q: %q, %d left", answer, out, left())
		}
	}
	s.stdin = "yes\n"
	if out := s.want(t, "dead drop KEY:dead -before 2026-01-03", exitFine); !strings.Contains(out, "dropped 2") ||
		left() != 2 {
		t.Errorf("%q, %d left", out, left())
	}
	s.stdin = ""
	if out := s.want(t, "dead drop KEY:dead -all -yes -json", exitFine); out != `{"dropped":2}`+"\n" || left() != 0 {
		t.Errorf("%q, %d left", out, left())
	}
	s.want(t, "dead drop KEY:dead -all", exitFine)
}

// shape is output with numbers and widths left out.
func shape(out string) string {
	out = regexp.MustCompile(`[\d.]+(ms|s|µs)`).ReplaceAllString(out, "T")
	out = regexp.MustCompile(` +`).ReplaceAllString(out, " ")
	return regexp.MustCompile(`\d\d:\d\d:\d\d\+01:00`).ReplaceAllString(out, "CLOCK")
}

func TestGroupsLagPending(t *testing.T) {
	s := newStand(t)
	for i := range 5 {
		s.add(t, s.key, fmt.Sprintf("%d-%d", 1, i+1), "n", "x")
	}
	for _, g := range []string{"billing", "audit\x1b"} {
		if err := s.rdb.XGroupCreate(t.Context(), s.key, g, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "billing", Consumer: "w1",
		Streams: []string{s.key, ">"}, Count: 2}).Err(); err != nil {
		t.Fatal(err)
	}
	age := regexp.MustCompile(`\d+d\d+h`)
	see := func(line string) string { return age.ReplaceAllString(shape(s.want(t, line, exitFine)), "OLD") }
	want := "GROUP POSITION LAG OLDEST UNREAD PENDING OLDEST PENDING CONSUMERS\n" +
		"audit\\x1b 0-0 5 OLD 0 - 0\n" +
		"billing 1-2 3 OLD 2 OLD 1\n\n" +
		"GROUP CONSUMER PENDING IDLE\nbilling w1 2 T\n"
	if diff := cmp.Diff(want, see("groups KEY")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("TIME GROUP LAG OLDEST UNREAD PENDING OLDEST PENDING\nCLOCK billing 3 OLD 2 OLD\n",
		see("lag KEY billing")); diff != "" {
		t.Error(diff)
	}
	s.want(t, "lag KEY billing -max 3", exitFine)
	s.want(t, "lag KEY billing -max 2", exitRefused)
	s.want(t, "lag KEY nobody", exitFailed)
	var g jsonGroup
	if err := json.Unmarshal([]byte(s.want(t, "lag KEY billing -json", exitFine)), &g); err != nil || g.Lag != 3 ||
		g.Pending != 2 ||
		len(g.Consumers) != 1 {
		t.Errorf("%+v %v", g, err)
	}
	out := see("pending KEY billing")
	if !strings.Contains(out, "≥ 24h 2 1-1 OLD T 1\n") || !strings.Contains(out, "w1 2 1-1 OLD T 1\n") ||
		!strings.Contains(out, "< 10m 0 - - - -\n") {
		t.Errorf("%s", out)
	}
	if out := see("pending KEY billing -json"); !strings.Contains(out, `"total":2`) ||
		!strings.Contains(out, `"consumer":"w1","count":2`) {
		t.Errorf("%s", out)
	}
	if diff := cmp.Diff("ID CONSUMER AGE IDLE DELIVERIES\n1-1 w1 OLD T 1\nthere are more: raise -limit\n",
		see("pending KEY billing -list -limit 1 -consumer w1")); diff != "" {
		t.Error(diff)
	}
	if out := s.want(t, "pending KEY billing -list -json", exitFine); strings.Count(out, "\n") != 2 {
		t.Errorf("%s", out)
	}
	s.want(t, "pending KEY nobody", exitFailed)
	s.want(t, "groups KEY:none", exitFailed)
	s.want(t, "groups KEY -json", exitFine)
}

// canceller cancels after a number of writes.
type canceller struct {
	bytes.Buffer
	after  int
	cancel func()
}

func (s *canceller) Write(b []byte) (int, error) {
	n, err := s.Buffer.Write(b)
	if s.after--; s.after <= 0 {
		s.cancel()
	}
	return n, err
}

// Watching and following end with Ctrl-C, without an error.
func TestWatchAndFollow(t *testing.T) {
	s := newStand(t)
	s.add(t, s.key, "1-1", "n", "1")
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	env := func(string) string { return s.url }
	for _, line := range []string{"lag KEY -watch -every 100ms", "tail KEY", "tail KEY -n 0 -json"} {
		ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
		out := &canceller{after: 2, cancel: cancel}
		if strings.HasPrefix(line, "tail") {
			go func() {
				for i := 0; ; i++ { // until it has seen some
					if ctx.Err() != nil || s.rdb.XAdd(ctx, redistest.Entry(s.key, "n", fmt.Sprint(i))).Err() != nil {
						return
					}
				}
			}()
		}
		var errs bytes.Buffer
		args := strings.Fields(strings.ReplaceAll(line, "KEY", s.key))
		if code := run(ctx, args, stdio{strings.NewReader(""), out, &errs, env, cet}); code != exitFine ||
			errs.Len() > 0 ||
			out.Len() == 0 {
			t.Errorf("%s: exit code %d\n%s%s", line, code, &out.Buffer, &errs)
		}
		cancel()
	}
}

func TestInterrupted(t *testing.T) {
	s := newStand(t)
	for range 300 {
		s.add(t, s.key+":dead", "*", "data", "x", "dead:key", s.key)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := context.AfterFunc(ctx, func() {})
	defer done()
	go func() {
		for s.rdb.XLen(t.Context(), s.key).Val() == 0 && t.Context().Err() == nil {
		}
		cancel()
	}()
	code, out, errs := s.run(t, ctx, "dead", "replay", "KEY:dead", "-all", "-rate", "20")
	moved, left := s.rdb.XLen(t.Context(), s.key).Val(), s.rdb.XLen(t.Context(), s.key+":dead").Val()
	if code != exitInterrupted || moved+left != 300 || !strings.Contains(out, "replayed ") ||
		!strings.Contains(errs, "interrupted") {
		t.Errorf("exit code %d, %d replayed, %d left\n%s%s", code, moved, left, out, errs)
	}
}

func TestResetReapTrim(t *testing.T) {
	s := newStand(t)
	for i := range 10 {
		s.add(t, s.key, fmt.Sprintf("%d-0", i+1), "n", "x")
	}
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "w\x1b1",
		Streams: []string{s.key, ">"}, Count: 6}).Err(); err != nil {
		t.Fatal(err)
	}
	out := s.want(t, "reset KEY g -to start -dry-run -pending release", exitFine)
	if diff := cmp.Diff("would go from 6-0, 1970-01-01T01:00:00+01:00 (00:00:00Z)\n         to 0-0, the beginning\n"+
		"6 entries would be delivered again\nwould release 6 pending entries\n"+
		"it would be refused now: the group is being read by 1 consumer (w\\x1b1); stop all readers first\n",
		out); diff != "" {
		t.Error(diff)
	}
	if out := s.want(t, "reset KEY g -to start", exitRefused); !strings.Contains(out, "use Force") {
		t.Errorf("%q", out)
	}
	if out := s.want(t, "reset KEY g -to 8-0 -force -pending drop -yes",
		exitFine); out != "went from 6-0, 1970-01-01T01:00:00+01:00 (00:00:00Z)\n"+
		"     to 8-0, 1970-01-01T01:00:00+01:00 (00:00:00Z)\n2 entries are skipped\ndropped 6 pending entries\n" {
		t.Errorf("%q", out)
	}
	if out := s.want(t, "reset KEY g -to end -dry-run -json -force", exitFine); !strings.Contains(out, `"skipped":2`) {
		t.Errorf("%q", out)
	}
	s.want(t, "reset KEY g", exitUsage)
	s.want(t, "reset KEY g -to tomorrow", exitUsage)
	s.want(t, "reset KEY g -to end -pending burn", exitUsage)
	s.want(t, "reset KEY nobody -to end", exitFailed)

	s.stdin = "y\n"
	if out := s.want(t, "trim KEY -exact", exitFine); !strings.Contains(out, "dropped 8 entries") {
		t.Errorf("%q", out)
	}
	s.stdin = ""
	s.want(t, "trim KEY", exitFine) // nothing to drop is nothing to ask
	s.want(t, "trim KEY -before 48h -yes -json", exitFine)

	s.want(t, "reap KEY g -idle 1ms", exitUsage)
	s.want(t, "reap KEY nobody -dry-run", exitFailed)
	deadline := time.Now().Add(redistest.Patience)
	for s.want(t, "reap KEY g -idle 1s -dry-run", exitFine) == "" && time.Now().Before(deadline) {
	}
	if out := s.want(t, "reap KEY g -idle 1s", exitFine); out != "deleted 1 consumer\n" {
		t.Errorf("%q", out)
	}
}

func TestUsage(t *testing.T) {
	s := newStand(t)
	golden(t, "help", s.want(t, "help", exitFine))
	for _, c := range commands() {
		out := s.want(t, "help "+c.name, exitFine)
		golden(t, "help-"+strings.ReplaceAll(c.name, " ", "-"), out)
		for line := range strings.Lines(out) {
			if len(line) > 160 {
				t.Errorf("a line of %d characters: %s", len(line), line)
			}
		}
	}
	for _, line := range []string{"", "what", "dead", "dead what", "-x", "ls -x", "ls a b", "groups",
		"dead list KEY -since yesterday", "dead list KEY -id x",
		"dead list KEY -limit -1", "dead list KEY -since 1h -before 2h", "dead show KEY x", "peek KEY -n -1",
		"lag KEY -every 1ms", "ls -limit 0",
		"pending KEY g -consumer c", "pending KEY g -list -limit 0", "dead replay KEY -all -rate -1",
		"reset KEY g -to end -live 0"} {
		if out := s.want(t, line, exitUsage); !strings.Contains(out, "-h ") && line != "" {
			t.Errorf("%q: %s", line, out)
		}
	}
	for _, line := range []string{"-h", "ls -h", "dead show -h", "help reset"} {
		s.want(t, line, exitFine)
	}
	// Flags may stand anywhere, but not after "--".
	s.want(t, "dead list -limit 1 KEY -json", exitFine)
	if _, _, errs := s.do(t, "dead list -- -json"); !strings.Contains(errs, `"-json"`) {
		t.Errorf("%q", errs)
	}
}

func TestConnectionErrors(t *testing.T) {
	s := newStand(t)
	code, _, errs := s.do(t, "ls -url redis://user:secret@127.0.0.1:1")
	if code != exitFailed || strings.Contains(errs, "secret") || !strings.Contains(errs, "-url or REDIS_URL") {
		t.Errorf("%d %q", code, errs)
	}
}

// Peek walks back in pages.
func TestPeekMany(t *testing.T) {
	s := newStand(t)
	for i := range 200 {
		s.add(t, s.key, fmt.Sprintf("1-%d", i+1), "b", "1", "a", fmt.Sprint(i), "b", "2")
	}
	for n, want := range map[int]int{1: 1, 49: 49, 50: 50, 51: 51, 120: 120, 200: 200, 300: 200} {
		out := s.want(t, fmt.Sprintf("peek KEY -n %d", n), exitFine)
		if got := strings.Count(out, "  b = 1\n  a = "); got != want || !strings.Contains(out, "  a = 199\n  b = 2\n") {
			t.Errorf("-n %d: %d entries", n, got)
		}
	}
	s.want(t, "peek KEY:none", exitFailed)
}

// These rights suffice, as the package documentation claims.
func TestRights(t *testing.T) {
	s := newStand(t)
	s.graveyard(t)
	s.add(t, s.key, "1-1", "n", "1")
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	rights := regexp.MustCompile(`(?m)^//\t(look|change): +(.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(rights) != 2 {
		t.Fatalf("%d lines of rights", len(rights))
	}
	user := strings.ReplaceAll("user-"+s.key, ":", "-") // a colon would end it in the URL
	u := strings.Replace(s.url, "redis://", "redis://"+user+":pw@", 1)
	allow := func(rules ...string) {
		args := []any{"acl", "setuser", user, "reset", "on", ">pw", "~" + s.key + "*"}
		for _, r := range rules {
			for f := range strings.FieldsSeq(r) {
				args = append(args, f)
			}
		}
		if err := s.rdb.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	defer s.rdb.Do(context.WithoutCancel(t.Context()), "acl", "deluser", user)
	s.url = u
	look := []string{
		"ls KEY*",
		"groups KEY",
		"lag KEY",
		"pending KEY g",
		"pending KEY g -list",
		"peek KEY",
		"tail KEY -from start -count 1",
		"dead list KEY:dead",
		"dead list KEY",
		"dead show KEY:dead 1767323045007-0",
		"dead replay KEY:dead -all -to KEY -dry-run",
		"dead drop KEY:dead -all -dry-run",
		"reset KEY g -to end -dry-run",
		"reap KEY g -dry-run",
	}
	change := []string{
		"dead replay KEY:dead -stage post",
		"dead drop KEY:dead -stage price -yes",
		"reset KEY g -to end -force -pending drop -yes",
		"reset KEY g -to start -force -pending release -yes",
	}
	allow(rights[0][2])
	for _, line := range look {
		s.want(t, line, exitFine)
	}
	for _, line := range change {
		s.want(t, line, exitFailed)
	}
	allow(rights[0][2], rights[1][2])
	for _, line := range append(change, "reap KEY g", "trim KEY -before 1h -yes") {
		s.want(t, line, exitFine)
	}
}

// The test runs the built binary, as a user does.
func TestBinary(t *testing.T) {
	s := newStand(t)
	s.graveyard(t)
	bin := filepath.Join(t.TempDir(), "streams")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(
		t.Context(),
		bin,
		"dead",
		"replay",
		s.key+":dead",
		"-id",
		"1767323045007-0,1767323045008-0",
	)
	cmd.Env = append(os.Environ(), "REDIS_URL="+s.url)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "replayed 2 of 2\n" {
		t.Errorf("%v\n%s", err, out)
	}
	cmd = exec.CommandContext(t.Context(), bin, "lag")
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitUsage {
		t.Errorf("%v", err)
	}
}

// End to end with entries of redisio itself: a user finds and replays what a graph has
// dead-lettered.
func TestDeadEndToEnd(t *testing.T) {
	s := newStand(t)
	r, err := reader.NewGroup(s.rdb, reader.GroupConfig{Key: s.key, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.WithoutCancel(t.Context()))
	s.add(t, s.key, "*", "data", "tea")
	var b redisio.Batch
	if err := r.Read(t.Context(), 1, 0, &b); err != nil {
		t.Fatal(err)
	}
	reason := dead.NewReason(fmt.Errorf("price: %w", os.ErrNotExist))
	reason.Stage, reason.Key, reason.ID, reason.Attempts = "price", s.key, b.Entries[0].ID, b.Entries[0].Deliveries
	if err := r.Dead(t.Context(), s.key+":dead", []reader.DeadLetter{{ID: b.Entries[0].ID, Extra: reason.Fields()}}); err != nil {
		t.Fatal(err)
	}
	if out := s.want(t, "dead list KEY -error exist", exitFine); !strings.Contains(out, `did you mean "KEY:dead"`) {
		t.Errorf("%q", out)
	}
	if out := s.want(t, "dead list KEY:dead -error exist", exitFine); !strings.Contains(
		out,
		"price: file does not exist",
	) {
		t.Errorf("%q", out)
	}
	s.want(t, "dead replay KEY:dead -stage price", exitFine)
	if err := r.Read(t.Context(), 1, 0, &b); err != nil || string(b.Entries[0].Fields[0].Value) != "tea" ||
		len(b.Entries[0].Fields) != 1 ||
		b.Entries[0].Deliveries != 1 {
		t.Errorf("%v %+v", err, b.Entries)
	}
	if err := r.Release(t.Context(), []string{b.Entries[0].ID}); err != nil {
		t.Fatal(err)
	}
}
