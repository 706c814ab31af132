package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/scatter"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/ratelimit"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// setUser runs a command line that prints a rule, and creates the user with this rule and a
// password.
func (s *stand) setUser(t *testing.T, user, line string) (url string) {
	t.Helper()
	code, out, errs := s.do(t, line+" -user "+user)
	if code != exitFine {
		t.Fatalf("streams %s: exit code %d\n%s", line, code, errs)
	}
	out = strings.ReplaceAll(out, "KEY", s.key)
	for _, cmd := range []string{"acl setuser " + user + " reset >pw", strings.TrimSpace(out)} {
		var args []any
		for f := range strings.FieldsSeq(cmd) {
			args = append(args, f)
		}
		if err := s.rdb.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
	}
	t.Cleanup(func() { s.rdb.Do(context.WithoutCancel(t.Context()), "acl", "deluser", user) })
	return strings.Replace(s.url, "redis://", "redis://"+user+":pw@", 1)
}

// The server accepts the printed rules, and they suffice to read in a group and to write.
func TestACLOfAProgram(t *testing.T) {
	s := newStand(t)
	url := s.setUser(
		t,
		"program",
		"acl -read KEY -group g -write KEY:out -max-len -dedupe-window -later -tail KEY:news -dedupe KEY:seen "+
			"-ticks KEY:ticks -range KEY:old -limit KEY:limit",
	)
	rdb, err := redisio.Connect(t.Context(), url, redisio.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	s.add(t, s.key, "*", "data", "tea")
	s.add(t, s.key, "*", "data", "stone")
	r, err := reader.NewGroup(rdb, reader.GroupConfig{Key: s.key, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.WithoutCancel(t.Context()))
	var b redisio.Batch
	if err := r.Read(t.Context(), 2, 0, &b); err != nil || len(b.Entries) != 2 {
		t.Fatal(err, len(b.Entries))
	}
	if n, err := r.Ack(t.Context(), []string{b.Entries[0].ID}); n != 1 || err != nil {
		t.Error(n, err)
	}
	if err := r.Dead(t.Context(), s.key+":dead", []reader.DeadLetter{{ID: b.Entries[1].ID}}); err != nil {
		t.Error(err)
	}
	w, err := writer.New(rdb, writer.Config{Key: s.key + ":out", MaxLen: 10, DedupeWindow: 1e12})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer w.Close(context.WithoutCancel(t.Context()))
	out := redisio.Outgoing{Fields: redisio.Fields{{Name: "data", Value: []byte("tea")}}, DedupeID: "1"}
	results := make([]redisio.Result, 2)
	if err := w.Write(t.Context(), []redisio.Outgoing{out, out}, results); err != nil || results[0].Duplicate ||
		!results[1].Duplicate {
		t.Error(err, results)
	}
	limit, err := ratelimit.New(rdb, ratelimit.Config{Key: s.key + ":limit", Most: 3, Per: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if got, wait, err := limit.Take(t.Context(), 5); got != 3 || wait <= 0 || err != nil {
		t.Errorf("got %d of 5 units of a limit of 3, and %v to wait: %v", got, wait, err)
	}
	other, err := ratelimit.New(rdb, ratelimit.Config{Key: s.key + ":other", Most: 3, Per: time.Hour, Patience: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Take(t.Context(), 1); !redis.HasErrorPrefix(err, "NOPERM") {
		t.Errorf("of another limit: %v", err)
	}
	if err := rdb.Get(t.Context(), "another key").Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("of another key: %v", err)
	}
}

// The rights to inspect do not suffice to change anything; those to repair do.
func TestACLOfAnOperator(t *testing.T) {
	s := newStand(t)
	s.graveyard(t)
	s.add(t, s.key, "1-1", "n", "1")
	if err := s.rdb.XGroupCreate(t.Context(), s.key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	admin := s.url
	s.url = s.setUser(t, "looks", "acl -inspect KEY*")
	change := []string{
		"dead replay KEY:dead -stage post",
		"dead drop KEY:dead -stage price -yes",
		"reset KEY g -to end -force -pending drop -yes",
	}
	for _, line := range []string{"ls KEY*", "groups KEY", "lag KEY", "pending KEY g", "peek KEY", "dead list KEY:dead",
		"reset KEY g -to end -dry-run"} {
		s.want(t, line, exitFine)
	}
	for _, line := range change {
		s.want(t, line, exitFailed)
	}
	s.url = admin
	s.url = s.setUser(t, "repairs", "acl -repair KEY* -inspect KEY*")
	for _, line := range append(change, "reap KEY g", "trim KEY -before 1h -yes") {
		s.want(t, line, exitFine)
	}
}

// The rights of both ends of a scatter are those of the package, as are those to the end of a stream.
func TestACLOfAScatter(t *testing.T) {
	s := newStand(t)
	_, out, _ := s.do(t, "acl -user a -write x -end")
	for _, right := range []string{"~x", "~{x}:end", "+hset", "+hvals", "+eval"} {
		if !strings.Contains(out, " "+right+" ") {
			t.Errorf("no %s in %s", right, out)
		}
	}
	cfg := scatter.Config[int, int]{Name: "tiles"}
	for flag, want := range map[string]redisio.Access{"scatter": cfg.AccessOut(), "work": cfg.AccessWork()} {
		_, out, _ := s.do(t, "acl -user a -"+flag+" tiles")
		if rules := strings.Join(want.Rules(), " "); !strings.HasSuffix(strings.TrimSpace(out), " on "+rules) {
			t.Errorf("-%s: %s, want %s", flag, out, rules)
		}
		s.want(t, "acl -user a -"+flag+" a}{b", exitUsage)
	}
}

func TestACLLines(t *testing.T) {
	s := newStand(t)
	for line, want := range map[string]string{
		"acl -user a -tail x,y": "ACL SETUSER a on clearselectors resetkeys resetchannels -@all %R~x %R~y +ping " +
			"+xinfo|stream +xread +xrevrange\n",
		"acl -user a -write x": "ACL SETUSER a on clearselectors resetkeys resetchannels " +
			"-@all %W~x +ping +xadd +xlen\n",
		"acl -user a -read x -group g -no-ack -no-delayed": "ACL SETUSER a on clearselectors resetkeys " +
			"resetchannels -@all ~x +eval +ping +time +xgroup|create +xgroup|createconsumer " +
			"+xgroup|delconsumer +xinfo|groups +xinfo|stream +xlen +xpending +xreadgroup +xrevrange\n",
		"acl -user a -json -range x": `{"user":"a","rules":["clearselectors","resetkeys","resetchannels","-@all","%R~x","+ping","+xrange"]}` + "\n",
	} {
		if code, out, errs := s.do(t, line); code != exitFine || out != want || !strings.Contains(errs, "password") {
			t.Errorf("%s: exit code %d\n%swant %s%s", line, code, out, want, errs)
		}
	}
	for _, line := range []string{"acl", "acl -user a", "acl -tail x", "acl -user a -read x",
		"acl -user a -group g -tail x", "acl -user a -read x -group g -dead d -no-dead", "acl -user a x"} {
		s.want(t, line, exitUsage)
	}
}
