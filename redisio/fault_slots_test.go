package redisio_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/dedupe"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/readers"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/schedules"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/writers"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/schedule"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// withSlots starts a server with slots, and returns a plain client of it, as for a clustered
// service behind one address.
func withSlots(t *testing.T) *redis.Client {
	t.Helper()
	srv := redistest.Start(t, redistest.Args("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"))
	rdb := srv.Client(t)
	if err := rdb.ClusterAddSlotsRange(rig.Ctx(t), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the cluster is up", func() bool { return rdb.Set(rig.Ctx(t), "up", "1", 0).Err() == nil })
	return rdb
}

// With a plain client of a server with slots, everything that uses several keys works as usual.
func TestFault_D5_PlainClientOfServerWithSlots(t *testing.T) {
	t.Parallel()
	rdb := withSlots(t)
	reason := func(id string) redisio.Fields {
		return dead.Reason{Error: "bad", ID: id, Key: "orders", Group: "g", Time: time.Now()}.Fields()
	}
	want := rig.Add(t, rdb, "orders", 5)
	r, l := readers.Open(
		t,
		rdb,
		reader.GroupConfig{Key: "orders", Tuning: reader.Tuning{Lease: time.Minute, DeadMaxLen: 1000}},
	)
	rig.Read(t, r, 5)
	t.Run("dead letters", func(t *testing.T) {
		letters := []reader.DeadLetter{{ID: want[0], Extra: reason(want[0])}, {ID: want[1], Extra: reason(want[1])}}
		for range 2 { // a call with an unknown outcome is repeated
			if err := r.Dead(rig.Ctx(t), "orders:dead", letters); err != nil {
				t.Fatal(err)
			}
		}
		dead := rdb.XRange(rig.Ctx(t), "orders:dead", "-", "+").Val()
		if len(dead) != 2 || dead[0].Values["n"] != "0" || dead[0].Values["dead:id"] != want[0] ||
			len(rig.Pending(t, rdb, "orders")) != 3 {
			t.Errorf("%v, pending %v", dead, rig.Pending(t, rdb, "orders"))
		}
		if l.Total(redisio.EventStaleAcks) != 2 {
			t.Errorf("%d stale", l.Total(redisio.EventStaleAcks))
		}
	})
	t.Run("cut off between the steps", func(t *testing.T) {
		name := "dead\norders\ng\n" + want[2]
		if err := script.CopyOnce(rig.Ctx(t), rdb, "orders:dead", name, 0, append(redisio.Fields{{Name: "n", Value: []byte("2")}}, reason(want[2])...)); err != nil {
			t.Fatal(err)
		}
		if err := r.Dead(rig.Ctx(t), "orders:dead", []reader.DeadLetter{{ID: want[2], Extra: reason(want[2])}}); err != nil {
			t.Fatal(err)
		}
		if n := rdb.XLen(rig.Ctx(t), "orders:dead").Val(); n != 3 || len(rig.Pending(t, rdb, "orders")) != 2 {
			t.Errorf("%d dead letters, pending %v", n, rig.Pending(t, rdb, "orders"))
		}
	})
	t.Run("an entry that is another's is left alone", func(t *testing.T) {
		if err := rdb.XClaimJustID(rig.Ctx(t),
			&redis.XClaimArgs{Stream: "orders", Group: "g", Consumer: "you", Messages: want[3:4]}).Err(); err != nil {
			t.Fatal(err)
		}
		if err := r.Dead(rig.Ctx(t), "orders:dead", []reader.DeadLetter{{ID: want[3], Extra: reason(want[3])}}); err != nil {
			t.Fatal(err)
		}
		if n := rdb.XLen(rig.Ctx(t), "orders:dead").Val(); n != 3 || l.Total(redisio.EventLateAcks) != 1 {
			t.Errorf("%d dead letters, %d late", n, l.Total(redisio.EventLateAcks))
		}
	})
	t.Run("replay", func(t *testing.T) {
		report, err := dead.Replay(rig.Ctx(t), rdb, "orders:dead", dead.Filter{Limit: 2}, dead.ReplayOptions{})
		if err != nil || report.Replayed != 2 {
			t.Fatal(report, err)
		}
		left := rdb.XRange(rig.Ctx(t), "orders:dead", "-", "+").Val()
		name := "replay\norders:dead\n" + left[0].ID
		if err := script.CopyOnce(rig.Ctx(t), rdb, "orders", name, 0, redisio.Fields{{Name: "n", Value: []byte("2")}}); err != nil { // it was cut off
			t.Fatal(err)
		}
		report, err = dead.Replay(rig.Ctx(t), rdb, "orders:dead", dead.Filter{}, dead.ReplayOptions{})
		if n, m := rdb.XLen(rig.Ctx(t), "orders").Val(), rdb.XLen(rig.Ctx(t), "orders:dead").Val(); err != nil ||
			report.Replayed != 1 ||
			n != 8 ||
			m != 0 {
			t.Errorf("%+v %v: %d entries, %d dead letters", report, err, n, m)
		}
	})
	t.Run("schedule", func(t *testing.T) {
		s := schedules.New(t, rdb, schedule.Config{Key: "later"})
		schedules.Schedule(t, s, past("a"), future("b"))
		if n, _, err := s.Move(rig.Ctx(t)); n != 1 || err != nil {
			t.Error(n, err)
		}
		if n, err := s.Cancel(rig.Ctx(t), "b"); n != 1 || err != nil {
			t.Error(n, err)
		}
	})
	t.Run("dedupe", func(t *testing.T) {
		d := newStore(t, rdb, dedupe.Config{Prefix: "seen"})
		keys, tokens := []string{"a", "b", "c"}, []string{"1\na", "1\nb", "1\nc"}
		if _, err := d.Claim(rig.Ctx(t), keys, tokens); err != nil {
			t.Error(err)
		}
		if err := d.Done(rig.Ctx(t), keys, tokens); err != nil {
			t.Error(err)
		}
	})
	t.Run("written once", func(t *testing.T) {
		w := writers.Open(t, rdb, writer.Config{DedupeWindow: time.Minute})
		for range 2 {
			entries := []redisio.Outgoing{
				{Key: "once a", DedupeID: "1", Fields: redisio.Fields{{Name: "f", Value: nil}}},
				{Key: "once b", DedupeID: "1", Fields: redisio.Fields{{Name: "f", Value: nil}}},
			}
			if err := w.Write(rig.Ctx(t), entries, make([]redisio.Result, 2)); err != nil {
				t.Error(err)
			}
		}
		if n := rdb.XLen(rig.Ctx(t), "once a").Val(); n != 1 {
			t.Errorf("%d entries", n)
		}
	})
	t.Run("together", func(t *testing.T) {
		w := writers.Open(t, rdb, writer.Config{Tuning: writer.Tuning{Together: true}})
		var entries []redisio.Outgoing
		for i, key := range []string{"x", "y", "x", "{x}z", "w", "y"} {
			entries = append(
				entries,
				redisio.Outgoing{
					Key:    key,
					Fields: redisio.Fields{{Name: "i", Value: strconv.AppendInt(nil, int64(i), 10)}},
				},
			)
		}
		results := make([]redisio.Result, len(entries))
		if err := w.Write(rig.Ctx(t), entries, results); err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			got := rdb.XRange(rig.Ctx(t), e.Key, results[i].ID, results[i].ID).Val()
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
	want := rig.Add(t, rdb, "orders", 1)
	r, _ := readers.Open(t, rdb, reader.GroupConfig{Key: "orders"})
	rig.Read(t, r, 1)
	if err := r.CheckDead(rig.Ctx(t), "elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := r.Dead(rig.Ctx(t), "elsewhere", []reader.DeadLetter{{ID: want[0], Extra: nil}}); err != nil {
		t.Fatal(err)
	}
	if n := plain.XLen(rig.Ctx(t), "elsewhere").Val(); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

var (
	scriptCall = regexp.MustCompile(`redis\.p?call\(([^\n]*)`)
	withKey    = regexp.MustCompile(
		`^('[A-Z]+'|ARGV\[1\])(, '(GROUPS|CONSUMERS|STREAM|CREATE|DESTROY|DELCONSUMER|SETID|USAGE)')?, KEYS\[\d\]`,
	)
)

// Some cluster proxies refuse a script if its commands don't name their key as KEYS and a digit. Scripts of event
// stores and views have a varying number of keys, so they don't run there, and their package docs say so.
func TestFault_D5_ScriptsNameTheirKeys(t *testing.T) {
	var files []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"contract", "redistest", "cmd", "rig"}, d.Name()):
			return filepath.SkipDir
		case strings.HasSuffix(name, "script/eventstore.go"), strings.HasSuffix(name, "script/view.go"):
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, name := range files {
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
