package jobstate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func newStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	cfg.Name = redistest.Key(t)
	s, err := New(redistest.Shared(t).Client(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var payload = redisio.Fields{{Name: "data", Value: []byte("x")}}

func submit(t testing.TB, s *Store, n Submission) *Attempt {
	t.Helper()
	n.Priority, n.Fields = "p", payload
	if n.ID == "" {
		n.ID = NewID(time.Now())
	}
	id, created, err := s.Submit(rig.Ctx(t), n)
	if err != nil || !created || id != n.ID {
		t.Fatalf("submit: %s, %v, %v", id, created, err)
	}
	return &Attempt{ID: n.ID, Entry: "1-1", Priority: "p", Key: n.Key}
}

func begin(t testing.TB, s *Store, a *Attempt, token string) {
	t.Helper()
	if why, err := s.Begin(rig.Ctx(t), a, token); err != nil {
		t.Fatal(why, err)
	}
}

// A worker that lost its job changes nothing, and the same call twice is one.
func TestStoreFences(t *testing.T) {
	s := newStore(t, Config{})
	old := submit(t, s, Submission{Key: "k"})
	begin(t, s, old, "one")
	begin(t, s, old, "one")
	now := *old
	begin(t, s, &now, "two")
	if old.Number != 1 || now.Number != 2 {
		t.Fatalf("attempts %d and %d", old.Number, now.Number)
	}
	if _, err := s.End(rig.Ctx(t), old, Result{State: Done, Value: []byte("1")}); !errors.Is(err, ErrStale) {
		t.Errorf("a late end: %v", err)
	}
	if err := s.Report(rig.Ctx(t), old, &Progress{Done: 1}, nil); !errors.Is(err, ErrStale) {
		t.Errorf("a late report: %v", err)
	}
	if err := s.Report(rig.Ctx(t), &now, &Progress{Done: 1, Stages: []string{"a", "b"}}, nil); err != nil {
		t.Error(err)
	}
	for range 2 {
		if st, err := s.End(rig.Ctx(t), &now, Result{State: Done, Value: []byte("2")}); err != nil || st != Done {
			t.Errorf("end: %s, %v", st, err)
		}
	}
	j, err := s.Get(rig.Ctx(t), old.ID)
	if err != nil || string(j.Result) != "2" || j.Attempt != 2 || j.Progress.Done != 1 {
		t.Errorf("%+v, %v", j, err)
	}
	var ended *EndedError
	if err := s.Cancel(rig.Ctx(t), old.ID); !errors.As(err, &ended) || ended.State != Done {
		t.Errorf("cancel: %v", err)
	}
	submit(t, s, Submission{Key: "k"}) // the key is free
}

func TestStoreAttempts(t *testing.T) {
	s := newStore(t, Config{MaxAttempts: 2})
	end := func(a *Attempt, st, want State) {
		t.Helper()
		got, err := s.End(
			rig.Ctx(t),
			a,
			Result{State: st, Failure: &Failure{Error: "no", Stage: "s", Retry: time.Now()}},
		)
		if err != nil || got != want {
			t.Errorf("end: %s, %v, want %s", got, err, want)
		}
	}
	a := submit(t, s, Submission{})
	begin(t, s, a, "1")
	end(a, Queued, Queued) // given back: it does not count
	begin(t, s, a, "2")
	end(a, Retrying, Retrying)
	begin(t, s, a, "3")
	end(a, Retrying, Failed)
	end(a, Retrying, Failed)
	why, err := s.Begin(rig.Ctx(t), a, "4")
	var ended *EndedError
	if !errors.As(err, &ended) || ended.State != Failed || why != "no" {
		t.Errorf("after the last attempt: %q, %v", why, err)
	}
	a.Entry = "2-1" // a dead letter that was replayed
	begin(t, s, a, "5")
	end(a, Done, Done)
	j, err := s.Get(rig.Ctx(t), a.ID)
	if err != nil || j.Failure == nil && j.State != Done {
		t.Errorf("%+v, %v", j, err)
	}
	// Attempts that their processes did not survive count too.
	a = submit(t, s, Submission{})
	begin(t, s, a, "1")
	begin(t, s, a, "2")
	if why, err := s.Begin(rig.Ctx(t), a, "3"); !errors.As(err, &ended) || why != spent {
		t.Errorf("%q, %v", why, err)
	}
}

// Many callers end and cancel a job at once. One of them wins, and all notices agree.
func TestStoreRace(t *testing.T) {
	s := newStore(t, Config{})
	for i := range 100 {
		a := submit(t, s, Submission{})
		begin(t, s, a, "1")
		var all sync.WaitGroup
		won := make(chan State, 3)
		all.Go(func() {
			if s.Cancel(rig.Ctx(t), a.ID) == nil {
				won <- Cancelled
			}
		})
		for _, st := range []State{Done, Failed} {
			all.Go(func() {
				if _, err := s.End(rig.Ctx(t), a, Result{State: st}); err == nil {
					won <- st
				}
			})
		}
		all.Wait()
		close(won)
		var winners []State
		for st := range won {
			winners = append(winners, st)
		}
		j, err := s.Get(rig.Ctx(t), a.ID)
		if err != nil || len(winners) != 1 || j.State != winners[0] {
			t.Fatalf("round %d: winners %v, state %s, %v", i, winners, j.State, err)
		}
	}
}

// A state that has expired is made again when a worker has the entry: the job is not lost.
func TestStoreForgets(t *testing.T) {
	s := newStore(t, Config{})
	a := submit(t, s, Submission{})
	s.rdb.Del(rig.Ctx(t), s.cfg.state(a.ID))
	begin(t, s, a, "1")
	if j, err := s.Get(rig.Ctx(t), a.ID); err != nil || j.State != Running || j.Priority != "p" {
		t.Errorf("%+v, %v", j, err)
	}
	s.rdb.Del(rig.Ctx(t), s.cfg.state(a.ID))
	if err := s.Report(rig.Ctx(t), a, nil, nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("report: %v", err)
	}
	if st, err := s.End(rig.Ctx(t), a, Result{State: Done, Value: []byte("1")}); err != nil || st != Done {
		t.Errorf("end: %s, %v", st, err)
	}
	if j, err := s.Get(rig.Ctx(t), a.ID); err != nil || j.State != Done || string(j.Result) != "1" || j.Attempt != 1 {
		t.Errorf("%+v, %v", j, err)
	}
	for _, err := range []error{s.Cancel(rig.Ctx(t), "nobody"), s.Cancel(rig.Ctx(t), "a b")} {
		if !errors.Is(err, ErrUnknown) || errors.Is(err, ErrExpired) {
			t.Errorf("cancel: %v", err)
		}
	}
	if _, err := s.Get(rig.Ctx(t), NewID(time.Now().Add(-48*time.Hour))); !errors.Is(err, ErrExpired) {
		t.Errorf("expired: %v", err)
	}
}

// A failover that loses the begin of an attempt, or all since, loses neither the job nor its end.
func TestStoreRolledBack(t *testing.T) {
	s := newStore(t, Config{})
	ctx := rig.Ctx(t)
	for _, again := range []bool{false, true} {
		a := submit(t, s, Submission{})
		old, err := s.rdb.Dump(ctx, s.cfg.state(a.ID)).Result()
		if err != nil {
			t.Fatal(err)
		}
		begin(t, s, a, "1")
		before, err := s.Get(ctx, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.rdb.RestoreReplace(ctx, s.cfg.state(a.ID), time.Hour, old).Err(); err != nil {
			t.Fatal(err)
		}
		if again { // another worker has begun meanwhile: the number is the same, the attempt is not
			other := *a
			begin(t, s, &other, "2")
			if err := s.Report(ctx, a, nil, nil); !errors.Is(err, ErrStale) {
				t.Errorf("report: %v", err)
			}
			if _, err := s.End(ctx, a, Result{State: Done}); !errors.Is(err, ErrStale) {
				t.Errorf("end: %v", err)
			}
			a = &other
		} else if err := s.Report(ctx, a, &Progress{Done: 1}, nil); err != nil {
			t.Errorf("report: %v", err)
		}
		if st, err := s.End(ctx, a, Result{State: Done}); st != Done || err != nil {
			t.Errorf("end: %s, %v", st, err)
		}
		if j, err := s.Get(ctx, a.ID); err != nil || j.State != Done || j.Version <= before.Version {
			t.Errorf("%+v, %v, version was %d", j, err, before.Version)
		}
	}
}

// A worker that has lost its job does not touch a later one with the same ID.
func TestStoreSameIDAgain(t *testing.T) {
	s := newStore(t, Config{})
	a := submit(t, s, Submission{ID: "x"})
	begin(t, s, a, "1")
	s.rdb.Del(rig.Ctx(t), s.cfg.state("x")) // it has ended elsewhere, and expired
	redistest.Soon(t, "another millisecond", func() bool {
		return a.at != strconv.FormatInt(s.rdb.Time(rig.Ctx(t)).Val().UnixMilli(), 10)
	})
	submit(t, s, Submission{ID: "x"})
	if err := s.Report(rig.Ctx(t), a, &Progress{Done: 1}, nil); !errors.Is(err, ErrStale) {
		t.Errorf("report: %v", err)
	}
	if _, err := s.End(rig.Ctx(t), a, Result{State: Done}); !errors.Is(err, ErrStale) {
		t.Errorf("end: %v", err)
	}
	if j, err := s.Get(rig.Ctx(t), "x"); err != nil || j.State != Queued {
		t.Errorf("%+v, %v", j, err)
	}
}

// A cancelled job that a worker will find is not forgotten before.
func TestStoreKeepsCancelled(t *testing.T) {
	s := newStore(t, Config{Keep: time.Minute, KeepOpen: time.Hour})
	kept := func(id string, long bool) {
		t.Helper()
		if left := s.rdb.PTTL(rig.Ctx(t), s.cfg.state(id)).Val(); left > time.Minute != long {
			t.Errorf("%s is kept for %v", id, left)
		}
	}
	cancel := func(id string) {
		t.Helper()
		if err := s.Cancel(rig.Ctx(t), id); err != nil {
			t.Error(err)
		}
	}
	cancel(submit(t, s, Submission{ID: "queued"}).ID)
	kept("queued", false)
	cancel(submit(t, s, Submission{ID: "later", Due: time.Now().Add(24 * time.Hour)}).ID)
	kept("later", false)
	running, waits := submit(t, s, Submission{ID: "running"}), submit(t, s, Submission{ID: "waits"})
	for _, a := range []*Attempt{running, waits} {
		begin(t, s, a, "1")
	}
	if _, err := s.End(rig.Ctx(t), waits, Result{State: Retrying}); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"running", "waits"} {
		cancel(id)
		kept(id, true)
	}
	var ended *EndedError
	if _, err := s.End(rig.Ctx(t), running, Result{State: Done}); !errors.As(err, &ended) {
		t.Errorf("end: %v", err)
	}
	if _, err := s.Begin(rig.Ctx(t), waits, "2"); !errors.As(err, &ended) || ended.State != Cancelled {
		t.Errorf("begin: %v", err)
	}
	kept("running", false)
	kept("waits", false)
}

// While Redis is full, jobs begin and end, which makes room.
func TestStoreFull(t *testing.T) {
	srv := redistest.Start(t)
	s, err := New(srv.Client(t), Config{Name: "q"})
	if err != nil {
		t.Fatal(err)
	}
	a := submit(t, s, Submission{})
	if err := s.rdb.(*redis.Client).ConfigSet(rig.Ctx(t), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Submit(rig.Ctx(t), Submission{ID: "x", Priority: "p", Fields: payload}); err == nil {
		t.Error("there is room for a job")
	}
	begin(t, s, a, "1")
	if err := s.Report(rig.Ctx(t), a, &Progress{Done: 1}, nil); err != nil {
		t.Error(err)
	}
	if _, err := s.End(rig.Ctx(t), a, Result{State: Done}); err != nil {
		t.Error(err)
	}
}

// All keys expire, apart from the stream, which readers empty, and lie in one slot.
func TestStoreKeysExpire(t *testing.T) {
	s := newStore(t, Config{Recent: 3})
	for i := range 5 {
		submit(t, s, Submission{ID: fmt.Sprint("j", i), Key: fmt.Sprint(i)})
	}
	for _, key := range s.rdb.(*redis.Client).Keys(rig.Ctx(t), "{"+s.cfg.Name+"}:*").Val() {
		ttl := s.rdb.PTTL(rig.Ctx(t), key).Val()
		if key != s.cfg.Stream("p") && (ttl <= 0 || ttl > s.cfg.KeepOpen) {
			t.Errorf("%s expires in %v", key, ttl)
		}
		if redisio.HashTag(key) != s.cfg.Name {
			t.Errorf("%s lies in another slot", key)
		}
	}
	list, err := s.Recent(rig.Ctx(t), 10)
	if err != nil || len(list) != 3 || list[0].ID != "j4" {
		t.Errorf("%+v, %v", list, err)
	}
	if !slices.Contains(s.cfg.Access("p").Commands, "eval") {
		t.Error("no rights for scripts")
	}
}

func TestStoreConfig(t *testing.T) {
	for _, bad := range []Config{{}, {Name: "{a}"}, {Name: "a", Keep: -1}, {Name: "a", Recent: -1}} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	if _, err := New(nil, Config{Name: "a"}); err == nil {
		t.Error("without a client")
	}
}

func ExampleStore() {
	ctx := context.Background()
	rdb, done := rig.Server(ctx)
	defer done()
	s, err := New(rdb, Config{Name: "thumbnails"})
	if err != nil {
		fmt.Println(err)
		return
	}
	id, created, err := s.Submit(ctx, Submission{ID: "j1", Priority: "high", Fields: payload})
	fmt.Println(id, created, err)
	a := &Attempt{ID: id, Entry: "1-1", Priority: "high"} // a worker has read the entry
	_, err = s.Begin(ctx, a, "token")
	fmt.Println("attempt", a.Number, err)
	fmt.Println("cancel:", s.Cancel(ctx, id))
	_, err = s.End(ctx, a, Result{State: Done})
	fmt.Println(err)
	// Output:
	// j1 true <nil>
	// attempt 1 <nil>
	// cancel: <nil>
	// jobs: job j1 has ended before: it is cancelled
}
