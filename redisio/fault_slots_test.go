package redisio

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// withSlots starts a server with slots, and returns a plain client of it, as of a clustered service behind one address.
func withSlots(t *testing.T) *redis.Client {
	t.Helper()
	srv := redistest.Start(t, redistest.Args("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"))
	rdb := srv.Client(t)
	if err := rdb.ClusterAddSlotsRange(ctx(t), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the cluster is up", func() bool { return rdb.Set(ctx(t), "up", "1", 0).Err() == nil })
	return rdb
}

// Behind a plain client of a server with slots everything that has several keys works as elsewhere.
func TestFault_D5_PlainClientOfServerWithSlots(t *testing.T) {
	t.Parallel()
	rdb := withSlots(t)
	reason := func(id string) Fields {
		return DeadReason{Error: "bad", ID: id, Key: "orders", Group: "g", Time: time.Now()}.Fields()
	}
	want := add(t, rdb, "orders", 5)
	r, l := open(t, rdb, GroupConfig{Key: "orders", Lease: time.Minute, DeadMaxLen: 1000})
	read(t, r, 5)
	t.Run("dead letters", func(t *testing.T) {
		letters := []DeadLetter{{want[0], reason(want[0])}, {want[1], reason(want[1])}}
		for range 2 { // a call whose outcome was unknown is repeated
			if err := r.Dead(ctx(t), "orders:dead", letters); err != nil {
				t.Fatal(err)
			}
		}
		dead := rdb.XRange(ctx(t), "orders:dead", "-", "+").Val()
		if len(dead) != 2 || dead[0].Values["n"] != "0" || dead[0].Values["dead:id"] != want[0] ||
			len(pending(t, rdb, "orders")) != 3 {
			t.Errorf("%v, pending %v", dead, pending(t, rdb, "orders"))
		}
		if l.total(EventStaleAcks) != 2 {
			t.Errorf("%d stale", l.total(EventStaleAcks))
		}
	})
	t.Run("cut off between the steps", func(t *testing.T) {
		name := "dead\norders\ng\n" + want[2]
		if err := copyOnce(ctx(t), rdb, "orders:dead", name, 0, append(Fields{{"n", []byte("2")}}, reason(want[2])...)); err != nil {
			t.Fatal(err)
		}
		if err := r.Dead(ctx(t), "orders:dead", []DeadLetter{{want[2], reason(want[2])}}); err != nil {
			t.Fatal(err)
		}
		if n := rdb.XLen(ctx(t), "orders:dead").Val(); n != 3 || len(pending(t, rdb, "orders")) != 2 {
			t.Errorf("%d dead letters, pending %v", n, pending(t, rdb, "orders"))
		}
	})
	t.Run("an entry that is another's is left alone", func(t *testing.T) {
		if err := rdb.XClaimJustID(ctx(t), &redis.XClaimArgs{Stream: "orders", Group: "g", Consumer: "you", Messages: want[3:4]}).Err(); err != nil {
			t.Fatal(err)
		}
		if err := r.Dead(ctx(t), "orders:dead", []DeadLetter{{want[3], reason(want[3])}}); err != nil {
			t.Fatal(err)
		}
		if n := rdb.XLen(ctx(t), "orders:dead").Val(); n != 3 || l.total(EventLateAcks) != 1 {
			t.Errorf("%d dead letters, %d late", n, l.total(EventLateAcks))
		}
	})
	t.Run("replay", func(t *testing.T) {
		report, err := ReplayDeadLetters(ctx(t), rdb, "orders:dead", DeadFilter{Limit: 2}, ReplayOptions{})
		if err != nil || report.Replayed != 2 {
			t.Fatal(report, err)
		}
		left := rdb.XRange(ctx(t), "orders:dead", "-", "+").Val()
		name := "replay\norders:dead\n" + left[0].ID
		if err := copyOnce(ctx(t), rdb, "orders", name, 0, Fields{{"n", []byte("2")}}); err != nil { // it was cut off
			t.Fatal(err)
		}
		report, err = ReplayDeadLetters(ctx(t), rdb, "orders:dead", DeadFilter{}, ReplayOptions{})
		if n, m := rdb.XLen(ctx(t), "orders").Val(), rdb.XLen(ctx(t), "orders:dead").Val(); err != nil ||
			report.Replayed != 1 ||
			n != 8 ||
			m != 0 {
			t.Errorf("%+v %v: %d entries, %d dead letters", report, err, n, m)
		}
	})
	t.Run("schedule", func(t *testing.T) {
		s := newScheduler(t, rdb, ScheduleConfig{Key: "later"})
		schedule(t, s, past("a"), future("b"))
		if n, _, err := s.Move(ctx(t)); n != 1 || err != nil {
			t.Error(n, err)
		}
		if n, err := s.Cancel(ctx(t), "b"); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
	t.Run("dedupe", func(t *testing.T) {
		d := newDedupe(t, rdb, DedupeConfig{Prefix: "seen"})
		keys, tokens := []string{"a", "b", "c"}, []string{"1\na", "1\nb", "1\nc"}
		if _, err := d.Claim(ctx(t), keys, tokens); err != nil {
			t.Error(err)
		}
		if err := d.Done(ctx(t), keys, tokens); err != nil {
			t.Error(err)
		}
	})
	t.Run("written once", func(t *testing.T) {
		w := openWriter(t, rdb, WriterConfig{DedupeWindow: time.Minute})
		for range 2 {
			entries := []Outgoing{
				{Key: "once a", DedupeID: "1", Fields: Fields{{"f", nil}}},
				{Key: "once b", DedupeID: "1", Fields: Fields{{"f", nil}}},
			}
			if err := w.Write(ctx(t), entries, make([]Result, 2)); err != nil {
				t.Error(err)
			}
		}
		if n := rdb.XLen(ctx(t), "once a").Val(); n != 1 {
			t.Errorf("%d entries", n)
		}
	})
	t.Run("together", func(t *testing.T) {
		w := openWriter(t, rdb, WriterConfig{Together: true})
		var entries []Outgoing
		for i, key := range []string{"x", "y", "x", "{x}z", "w", "y"} {
			entries = append(entries, Outgoing{Key: key, Fields: Fields{{"i", strconv.AppendInt(nil, int64(i), 10)}}})
		}
		results := make([]Result, len(entries))
		if err := w.Write(ctx(t), entries, results); err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			got := rdb.XRange(ctx(t), e.Key, results[i].ID, results[i].ID).Val()
			if len(got) != 1 || got[0].Values["i"] != fmt.Sprint(i) {
				t.Errorf("entry %d: %v", i, got)
			}
		}
	})
}

// A cluster client may be given a dead key in another slot as well.
func TestFault_D5_ClusterClient(t *testing.T) {
	t.Parallel()
	plain := withSlots(t)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{plain.Options().Addr}})
	t.Cleanup(func() { _ = rdb.Close() })
	want := add(t, rdb, "orders", 1)
	r, _ := open(t, rdb, GroupConfig{Key: "orders"})
	read(t, r, 1)
	if err := r.CheckDead(ctx(t), "elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := r.Dead(ctx(t), "elsewhere", []DeadLetter{{want[0], nil}}); err != nil {
		t.Fatal(err)
	}
	if n := plain.XLen(ctx(t), "elsewhere").Val(); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

var (
	scriptCall = regexp.MustCompile(`redis\.p?call\(([^\n]*)`)
	withKey    = regexp.MustCompile(
		`^'[A-Z]+'(, '(GROUPS|CONSUMERS|STREAM|CREATE|DESTROY|DELCONSUMER|SETID|USAGE)')?, KEYS\[\d\]`,
	)
)

// Proxies of clusters refuse scripts whose commands don't name their key as KEYS and a digit.
func TestFault_D5_ScriptsNameTheirKeys(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, _ := strconv.Unquote(lit.Value)
			for _, call := range strings.Split(text, "redis.")[1:] {
				for _, args := range scriptCall.FindAllStringSubmatch("redis."+call, -1) {
					calls++
					if !withKey.MatchString(args[1]) && !strings.HasPrefix(args[1], "'TIME'") {
						t.Errorf("%s: %s", name, args[0])
					}
				}
			}
			return true
		})
	}
	if calls < 60 {
		t.Errorf("found %d calls only", calls)
	}
}
