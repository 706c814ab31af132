package dead

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/readers"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// flat shows fields.
func flat(f redisio.Fields) (out []string) {
	for _, x := range f {
		out = append(out, x.Name+"="+string(x.Value))
	}
	return out
}

// bury writes a dead letter as reader.Group.Dead does: fields of an entry, and a reason behind.
func bury(t testing.TB, rdb redis.UniversalClient, key string, original []string, r Reason) string {
	t.Helper()
	args := []any{"xadd", key, "*"}
	for _, v := range original {
		args = append(args, v)
	}
	for _, f := range r.Fields() {
		args = append(args, f.Name, f.Value)
	}
	id, err := rdb.Do(rig.Ctx(t), args...).Text()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// letters lists dead letters.
func letters(t testing.TB, rdb redis.UniversalClient, key string, f Filter) (out []Entry) {
	t.Helper()
	for d, err := range All(rig.Ctx(t), rdb, key, f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// entries lists the fields of all entries of a stream.
func entries(t testing.TB, rdb redis.UniversalClient, key string) (out [][]string) {
	t.Helper()
	for _, d := range letters(t, rdb, key, Filter{}) {
		out = append(out, flat(d.Fields))
	}
	return out
}

type typed struct{ wrapped error }

func (typed) Error() string { return "typed" }

func (e typed) Unwrap() error { return e.wrapped }

func TestDeadReason(t *testing.T) {
	root := &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}
	loop := errors.New("bottom")
	for range 100 {
		loop = fmt.Errorf("w%.8s: %w", strings.Repeat("x", 20), loop)
	}
	for name, c := range map[string]struct {
		err    error
		text   string
		causes []string
	}{
		"none":        {nil, "", nil},
		"alone":       {errors.New("a"), "a", nil},
		"wrapped":     {fmt.Errorf("load: %w", root), "load: open x: file does not exist", []string{"*fs.PathError: open x: file does not exist", "file does not exist"}},
		"hidden":      {typed{errors.New("the real one")}, "typed", []string{"the real one"}},
		"transparent": {fmt.Errorf("%w", errors.New("same")), "same", nil},
		"joined":      {errors.Join(errors.New("a"), typed{errors.New("b")}), "a\ntyped", []string{"a", "dead.typed: typed", "b"}},
		"nil inside":  {typed{nil}, "typed", nil},
	} {
		r := NewReason(c.err)
		if r.Error != c.text || !cmp.Equal(r.Causes, c.causes) {
			t.Errorf("%s: %q, causes %q", name, r.Error, r.Causes)
		}
	}
	r := NewReason(loop)
	if len(r.Causes) != maxCauses {
		t.Errorf("%d causes of a long chain", len(r.Causes))
	}
	r = NewReason(fmt.Errorf("\xff%s: %w", strings.Repeat("long", 10_000), errors.New("x")))
	r.Stack = strings.Repeat("s", 10_000)
	if n := r.Fields().Size(); n > maxErrorText+maxCauseText+maxStack+100 || strings.Contains(r.Error, "\xff") {
		t.Errorf("%d bytes", n)
	}
}

// A dead letter has all raw fields, its trace among them, and why, where and when.
func TestDeadLettersComplete(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	gr, _ := readers.Open(t, rdb, reader.GroupConfig{Key: key})
	raw := []string{
		"b",
		"1",
		"a",
		"2",
		"b",
		"3",
		"traceparent",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"dead:x",
		"mine",
		"data",
		"\x00\xff",
	}
	if err := rdb.XAdd(rig.Ctx(t), &redis.XAddArgs{Stream: key, Values: raw}).Err(); err != nil {
		t.Fatal(err)
	}
	e := rig.Read(t, gr, 1)[0]
	reason := NewReason(fmt.Errorf("outer: %w", typed{errors.New("root")}))
	reason.Graph, reason.Stage, reason.Attempts, reason.Stack = "graph", "stage", 3, "stack"
	reason.ID, reason.Key, reason.Group, reason.Time = e.ID, key, "g", time.Now().UTC()
	if err := gr.Dead(rig.Ctx(t), key+":dead", []reader.DeadLetter{{ID: e.ID, Extra: reason.Fields()}}); err != nil {
		t.Fatal(err)
	}
	got := letters(t, rdb, key+":dead", Filter{})
	if len(got) != 1 {
		t.Fatalf("%d dead letters", len(got))
	}
	if diff := cmp.Diff(flat(e.Fields), flat(got[0].Original)); diff != "" {
		t.Errorf("original fields (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(reason, got[0].Reason); diff != "" {
		t.Errorf("reason (-want +got):\n%s", diff)
	}
	one, err := Find(rig.Ctx(t), rdb, key+":dead", got[0].ID)
	if diff := cmp.Diff(got[0], one); err != nil || diff != "" {
		t.Errorf("found: %v\n%s", err, diff)
	}
	if _, err := Find(rig.Ctx(t), rdb, key+":dead", "1-1"); !errors.Is(err, ErrNoEntry) {
		t.Errorf("found none: %v", err)
	}
}

func TestDeadLettersOfOthers(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for range 250 { // more than a page
		bury(t, rdb, key, []string{"payload", "p", "reason_poisoned", "no idea"}, Reason{})
	}
	got := letters(t, rdb, key, Filter{})
	if len(got) != 250 || len(got[249].Original) != 2 || !cmp.Equal(got[0].Reason, Reason{}) {
		t.Fatalf("%d letters, the first %+v", len(got), got[0])
	}
	if n := len(letters(t, rdb, key+":none", Filter{})); n != 0 {
		t.Errorf("%d letters of a stream that is not there", n)
	}
	for d, err := range All(rig.Ctx(t), rdb, key, Filter{}) {
		if err != nil || d.ID != got[0].ID {
			t.Errorf("%v %v", d.ID, err)
		}
		break // and no more is read
	}
	if err := rdb.Set(rig.Ctx(t), key+":string", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := Find(rig.Ctx(t), rdb, key+":string", "1-1")
	if permanent := (*redisio.PermanentError)(nil); !errors.As(err, &permanent) {
		t.Errorf("of a string: %v", err)
	}
}

func TestDeadFilter(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	at := func(min int) time.Time { return time.Date(2026, 1, 2, 3, min, 0, 0, time.UTC) }
	for i, r := range []Reason{
		{Error: "Connection refused", Stage: "post", Graph: "billing", Group: "g", Key: "orders"},
		{Error: "bad price", Causes: []string{"*json.SyntaxError: unexpected end"}, Stage: "price", Graph: "billing", Group: "g", Key: "orders"},
		{Error: "bad price", Stage: "price", Graph: "audit", Group: "h", Key: "refunds"},
		{},
	} {
		args := []any{"xadd", key, redisio.IDAt(at(i)).String(), "data", i}
		for _, f := range r.Fields() {
			args = append(args, f.Name, f.Value)
		}
		if err := rdb.Do(rig.Ctx(t), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		f    Filter
		want string
	}{
		"all":             {Filter{}, "0123"},
		"stage":           {Filter{Stage: "price"}, "12"},
		"graph":           {Filter{Graph: "billing"}, "01"},
		"group and stage": {Filter{Group: "h", Stage: "price"}, "2"},
		"key":             {Filter{Key: "orders"}, "01"},
		"error":           {Filter{Error: "connection"}, "0"},
		"cause":           {Filter{Error: "json.syntax"}, "1"},
		"since":           {Filter{Since: at(2)}, "23"},
		"until":           {Filter{Until: at(2)}, "01"},
		"between":         {Filter{Since: at(1), Until: at(2)}, "1"},
		"all before":      {Filter{Since: at(50)}, ""},
		"limit":           {Filter{Limit: 1, Stage: "price"}, "1"},
		"ids":             {Filter{IDs: []string{redisio.IDAt(at(3)).String(), "7-7", redisio.IDAt(at(0)).String()}}, "30"},
		"short id":        {Filter{IDs: []string{fmt.Sprint(at(2).UnixMilli())}}, "2"},
		"ids and since":   {Filter{IDs: []string{redisio.IDAt(at(3)).String(), redisio.IDAt(at(0)).String()}, Since: at(1)}, "3"},
	} {
		got := ""
		for _, d := range letters(t, rdb, key, c.f) {
			data, _ := d.Original.Get("data")
			got += string(data)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	err := Filter{IDs: []string{"x"}, Since: at(1), Until: at(1), Limit: -1}.Validate()
	if n := strings.Count(err.Error(), "redisio: dead.Filter."); n != 3 {
		t.Errorf("%d mistakes found: %v", n, err)
	}
}

func TestReplay(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	dead := key + ":dead"
	reason := Reason{Error: "e", Stage: "s", Attempts: 5, ID: "1-1", Key: key, Group: "g", Time: time.Now()}
	for i := range 300 {
		bury(t, rdb, dead, []string{"b", fmt.Sprint(i), "a", "\x00", "b", "again"}, reason)
	}
	bury(t, rdb, dead, nil, reason) // was trimmed before it died
	plan, err := Replay(rig.Ctx(t), rdb, dead, Filter{}, ReplayOptions{DryRun: true})
	if diff := cmp.Diff(ReplayReport{Matched: 301, Empty: 1, To: map[string]int64{key: 300}}, plan); err != nil ||
		diff != "" {
		t.Errorf("dry run: %v\n%s", err, diff)
	}
	if n := rdb.XLen(rig.Ctx(t), dead).Val(); n != 301 {
		t.Fatalf("the dry run left %d", n)
	}
	var seen []int64
	report, err := Replay(
		rig.Ctx(t),
		rdb,
		dead,
		Filter{},
		ReplayOptions{OnProgress: func(r ReplayReport) { seen = append(seen, r.Replayed) }},
	)
	if diff := cmp.Diff(ReplayReport{Matched: 301, Replayed: 300, Empty: 1, To: map[string]int64{key: 300}},
		report); err != nil ||
		diff != "" {
		t.Errorf("replay: %v\n%s", err, diff)
	}
	if !slices.IsSorted(seen) || len(seen) < 3 || seen[len(seen)-1] != 300 {
		t.Errorf("progress: %v", seen)
	}
	got := entries(t, rdb, key)
	if len(got) != 300 || !cmp.Equal(got[299], []string{"b=299", "a=\x00", "b=again"}) ||
		rdb.XLen(rig.Ctx(t), dead).Val() != 1 {
		t.Errorf("%d entries, the last %q", len(got), got[len(got)-1])
	}
}

// As a new entry, its attempts count from one.
func TestReplayStartsAnew(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	gr, _ := readers.Open(t, rdb, reader.GroupConfig{Key: key})
	rig.Add(t, rdb, key, 1)
	for n := range 3 {
		e := rig.Read(t, gr, 1)[0]
		if e.Deliveries != 1 || len(e.Fields) != 1 {
			t.Fatalf("delivery %d of life %d, %q", e.Deliveries, n, flat(e.Fields))
		}
		if err := gr.Nack(rig.Ctx(t), []string{e.ID}, 0); err != nil {
			t.Fatal(err)
		}
		if e = rig.Read(t, gr, 1)[0]; e.Deliveries != 2 {
			t.Fatalf("delivery %d", e.Deliveries)
		}
		r := Reason{Error: "e", Attempts: e.Deliveries, ID: e.ID, Key: key, Group: "g"}
		if err := gr.Dead(rig.Ctx(t), key+":dead", []reader.DeadLetter{{ID: e.ID, Extra: r.Fields()}}); err != nil {
			t.Fatal(err)
		}
		if report, err := Replay(rig.Ctx(t), rdb, key+":dead", Filter{}, ReplayOptions{}); err != nil ||
			report.Replayed != 1 {
			t.Fatalf("%+v %v", report, err)
		}
	}
	if n := rdb.XLen(rig.Ctx(t), key+":dead").Val(); n != 0 {
		t.Errorf("%d dead letters left", n)
	}
}

// KeepReason keeps the history of all lives; what is replayed without it is the original again.
func TestReplayKeepsReason(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	dead := key + ":dead"
	r := Reason{Error: "first", Causes: []string{"x", "y"}, Attempts: 5, ID: "1-1", Key: key, Time: time.Now()}
	bury(t, rdb, dead, []string{"data", "1"}, r)
	for _, again := range []string{"second", "third"} {
		if report, err := Replay(rig.Ctx(t), rdb, dead, Filter{}, ReplayOptions{KeepReason: true}); err != nil ||
			report.Replayed != 1 {
			t.Fatalf("%+v %v", report, err)
		}
		living := letters(t, rdb, key, Filter{})
		f := living[len(living)-1].Fields
		if _, marked := f.Get(deadReplayed); !marked {
			t.Fatalf("no mark: %q", flat(f))
		}
		var values []string
		for _, x := range f {
			values = append(values, x.Name, string(x.Value))
		}
		r.Error, r.Causes = again, nil
		bury(t, rdb, dead, values, r)
	}
	d := letters(t, rdb, dead, Filter{})[0]
	if d.Reason.Error != "third" || d.Reason.Replayed.IsZero() || !cmp.Equal(flat(d.Original), []string{"data=1"}) {
		t.Fatalf("%+v of %q", d.Reason, flat(d.Original))
	}
	if _, err := Replay(rig.Ctx(t), rdb, dead, Filter{}, ReplayOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, rdb, key); !cmp.Equal(got[len(got)-1], []string{"data=1"}) {
		t.Errorf("%q", got)
	}
}

// An entry that died in a stream of dead letters is replayed to it unchanged, with the reason of
// its first death.
func TestReplayOfReplays(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	first := Reason{Error: "first", Attempts: 5, ID: "1-1", Key: key, Time: time.Now()}
	id := bury(t, rdb, key+":dead", []string{"data", "1"}, first)
	want := flat(letters(t, rdb, key+":dead", Filter{})[0].Fields)
	values := []string{"data", "1"}
	for _, f := range first.Fields() {
		values = append(values, f.Name, string(f.Value))
	}
	bury(
		t,
		rdb,
		key+":dead:dead",
		values,
		Reason{Error: "the redriver failed", Attempts: 1, ID: id, Key: key + ":dead", Time: time.Now()},
	)
	rdb.Del(rig.Ctx(t), key+":dead")
	if _, err := Replay(rig.Ctx(t), rdb, key+":dead:dead", Filter{}, ReplayOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{want}, entries(t, rdb, key+":dead")); diff != "" {
		t.Error(diff)
	}
}

// A reply that is lost makes no second copy, whether go-redis asks again by itself or the caller does.
func TestReplayLostReply(t *testing.T) {
	s := redistest.Shared(t)
	rdb, key := s.Client(t), redistest.Key(t)
	dead := key + ":dead"
	for _, retries := range []int{-1, 3} {
		p := rig.NewProxy(t, s.Addr())
		cut := redis.NewClient(&redis.Options{Addr: p.Addr(), DisableIdentity: true, MaxRetries: retries})
		defer cut.Close()
		for i := range 50 {
			bury(t, rdb, dead, []string{"data", fmt.Sprint(i)}, Reason{Key: key})
		}
		p.LoseReplies("xdel", 1)
		report, err := Replay(rig.Ctx(t), cut, dead, Filter{}, ReplayOptions{})
		if retries < 0 && err == nil || report.Replayed+report.Gone > 50 {
			t.Errorf("retries %d: %+v, %v", retries, report, err)
		}
		redistest.Soon(t, "all is replayed", func() bool {
			_, err := Replay(rig.Ctx(t), cut, dead, Filter{}, ReplayOptions{})
			return err == nil && rdb.XLen(rig.Ctx(t), dead).Val() == 0
		})
		got := map[string]int{}
		for _, f := range entries(t, rdb, key) {
			got[f[0]]++
		}
		if n := rdb.XLen(rig.Ctx(t), key).Val(); len(got) != 50 || n != 50 {
			t.Errorf("retries %d: %d entries, %d of them different", retries, n, len(got))
		}
		rdb.Del(rig.Ctx(t), key)
	}
}

// Two that replay at once share the work.
func TestReplayTwice(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for i := range 1000 {
		bury(t, rdb, key+":dead", []string{"data", fmt.Sprint(i)}, Reason{Key: key})
	}
	reports := make(chan ReplayReport)
	for range 2 {
		go func() {
			r, err := Replay(rig.Ctx(t), rdb, key+":dead", Filter{}, ReplayOptions{})
			if err != nil {
				t.Error(err)
			}
			reports <- r
		}()
	}
	a, b := <-reports, <-reports
	if a.Replayed+b.Replayed != 1000 || rdb.XLen(rig.Ctx(t), key).Val() != 1000 {
		t.Errorf("%+v and %+v", a, b)
	}
}

// A replay does not replay an entry that dies again meanwhile.
func TestReplayEnds(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for range 5 {
		bury(t, rdb, key+":dead", []string{"data", "poison"}, Reason{Key: key})
	}
	report, err := Replay(
		rig.Ctx(t),
		rdb,
		key+":dead",
		Filter{},
		ReplayOptions{Rate: 1e6, OnProgress: func(ReplayReport) {
			bury(t, rdb, key+":dead", []string{"data", "poison"}, Reason{Key: key})
		}},
	)
	if err != nil || report.Replayed != 5 || rdb.XLen(rig.Ctx(t), key+":dead").Val() == 0 {
		t.Errorf("%+v %v", report, err)
	}
}

func TestReplayRefuses(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	dead := key + ":dead"
	bury(t, rdb, dead, []string{"data", "homeless"}, Reason{})
	bury(t, rdb, dead, []string{"data", "1"}, Reason{Key: key})
	report, err := Replay(rig.Ctx(t), rdb, dead, Filter{}, ReplayOptions{})
	var config *redisio.ConfigError
	if !errors.As(err, &config) || config.Field != "To" || report.NoOrigin != 1 || report.Replayed != 1 {
		t.Errorf("no origin: %+v %v", report, err)
	}
	if _, err = Replay(rig.Ctx(t), rdb, dead, Filter{}, ReplayOptions{To: dead}); !errors.As(err, &config) {
		t.Errorf("to itself: %v", err)
	}
	if _, err = Replay(rig.Ctx(t), rdb, dead, Filter{}, ReplayOptions{Rate: -1}); !errors.As(err, &config) {
		t.Errorf("rate: %v", err)
	}
	if err := rdb.Set(rig.Ctx(t), key+":string", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, err = Replay(rig.Ctx(t), rdb, dead, Filter{}, ReplayOptions{To: key + ":string"})
	if !fault.IsWrongType(errors.Unwrap(err)) || rdb.XLen(rig.Ctx(t), dead).Val() != 1 {
		t.Errorf("to a string: %v", err)
	}
	// A user without the right to delete does not copy either, so retries make no duplicates.
	user := "user-" + key
	if err := rdb.Do(rig.Ctx(t), "acl", "setuser", user, "on", ">pw", "~*", "+@all", "-xdel").Err(); err != nil {
		t.Fatal(err)
	}
	defer rdb.Do(rig.Ctx(t), "acl", "deluser", user)
	weak := redis.NewClient(&redis.Options{Addr: redistest.Shared(t).Addr(), Username: user, Password: "pw"})
	defer weak.Close()
	if report, err = Replay(rig.Ctx(t), weak, dead, Filter{}, ReplayOptions{To: key + ":other"}); err == nil ||
		report.Replayed != 0 ||
		rdb.XLen(rig.Ctx(t), key+":other").Val() != 0 {
		t.Errorf("without rights: %+v %v", report, err)
	}
	report, err = Replay(rig.Ctx(t), rdb, dead, Filter{}, ReplayOptions{To: key + ":other"})
	if err != nil || !cmp.Equal(report.To, map[string]int64{key + ":other": 1}) ||
		rdb.XLen(rig.Ctx(t), key+":other").Val() != 1 {
		t.Errorf("to another: %+v %v", report, err)
	}
	report, err = Replay(rig.Ctx(t), rdb, dead, Filter{IDs: []string{"1-1"}}, ReplayOptions{})
	if err != nil || report.Gone != 1 || report.Matched != 0 {
		t.Errorf("one that is not there: %+v %v", report, err)
	}
}

// Entries of more fields than a script can hand over are moved by a transaction.
func TestReplayLarge(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	var values []string
	for i := range 5000 {
		values = append(values, fmt.Sprint("f", i), "v")
	}
	bury(t, rdb, key+":dead", values, Reason{Key: key, Error: "e"})
	report, err := Replay(rig.Ctx(t), rdb, key+":dead", Filter{}, ReplayOptions{})
	if err != nil || report.Replayed != 1 || rdb.XLen(rig.Ctx(t), key+":dead").Val() != 0 {
		t.Fatalf("%+v %v", report, err)
	}
	if got := entries(t, rdb, key); len(got) != 1 || len(got[0]) != 5000 || got[0][4999] != "f4999=v" {
		t.Errorf("%d entries", len(got))
	}
}

func TestReplayCluster(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Args("--cluster-enabled", "yes"))
	if err := s.Client(t).Do(rig.Ctx(t), "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr()}})
	defer rdb.Close()
	redistest.Soon(t, "the cluster is up", func() bool { return rdb.Set(rig.Ctx(t), "x", "y", 0).Err() == nil })
	bury(t, rdb, "{orders}:dead", []string{"data", "same slot"}, Reason{Key: "{orders}"})
	bury(t, rdb, "{orders}:dead", []string{"data", "another"}, Reason{Key: "elsewhere"})
	bury(t, rdb, "others", []string{"data", "another"}, Reason{})
	report, err := Replay(rig.Ctx(t), rdb, "{orders}:dead", Filter{}, ReplayOptions{})
	if n, m := rdb.XLen(rig.Ctx(t), "elsewhere").Val(), rdb.XLen(rig.Ctx(t), "{orders}:dead").Val(); err != nil ||
		report.Replayed != 2 ||
		n != 1 ||
		m != 0 {
		t.Errorf("%+v %v: %d copied, %d left", report, err, n, m)
	}
	var found []string
	for key, err := range admin.Streams(rig.Ctx(t), rdb, "{ord*") {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, key)
	}
	slices.Sort(found)
	if !cmp.Equal(found, []string{"{orders}", "{orders}:dead"}) {
		t.Errorf("streams %q", found)
	}
}

func TestDropDeadLetters(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for i := range 250 {
		bury(t, rdb, key, []string{"data", fmt.Sprint(i)}, Reason{Stage: []string{"a", "b"}[i%2]})
	}
	if n, err := Drop(rig.Ctx(t), rdb, key, Filter{Stage: "a"}, DropOptions{DryRun: true}); n != 125 ||
		err != nil {
		t.Errorf("dry run: %d %v", n, err)
	}
	if n, err := Drop(rig.Ctx(t), rdb, key, Filter{Stage: "a"}, DropOptions{}); n != 125 || err != nil {
		t.Errorf("stage a: %d %v", n, err)
	}
	last := int64(0)
	if n, err := Drop(rig.Ctx(t), rdb, key, Filter{}, DropOptions{OnProgress: func(n int64) { last = n }}); n != 125 ||
		last != n ||
		err != nil {
		t.Errorf("the rest: %d %d %v", n, last, err)
	}
}
