package redisio

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// A password that changes on the server some time before it changes here is waited for.
func TestFault_D12_CredentialThatIsLate(t *testing.T) {
	srv := redistest.Start(t)
	admin, rdb := srv.Client(t), srv.User(t, "worker", "~*", "+@all")
	password := "WRONG"
	rotate := func(t *testing.T, to string) {
		t.Helper()
		if err := admin.Do(ctx(t), "acl", "setuser", "worker", "resetpass", ">"+to).Err(); err != nil {
			t.Fatal(err)
		}
		if err := admin.Do(ctx(t), "client", "kill", "user", "worker").Err(); err != nil {
			t.Fatal(err)
		}
	}
	old := rdb.Options().Password
	refused := make(chan Event, 16)
	tell := func(e Event) {
		if e.Kind == EventRefused {
			refused <- e
		}
	}
	// during runs work while the password is wrong, until an event has said so.
	during := func(t *testing.T, work func() error) {
		t.Helper()
		rotate(t, password)
		done := make(chan error, 1)
		go func() { done <- work() }()
		select {
		case e := <-refused:
			if e.Wait <= 0 || !redis.HasErrorPrefix(e.Err, "WRONGPASS") {
				t.Errorf("event %+v", e)
			}
		case <-ctx(t).Done():
			t.Fatal("no event")
		case err := <-done:
			done <- err
			t.Error("it ended before the event:", err)
		}
		rotate(t, old)
		if err := <-done; err != nil {
			t.Error(err)
		}
		for len(refused) > 0 {
			<-refused
		}
	}
	t.Run("group", func(t *testing.T) {
		key := redistest.Key(t)
		r, err := NewGroupReader(
			rdb,
			GroupConfig{Key: key, Group: "g", Block: 20 * time.Millisecond, OnEvent: tell, DelayedEvery: -1},
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Open(ctx(t)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close(ctx(t)) }()
		want := add(t, admin, key, 1)
		var b Batch
		during(t, func() error { return r.Read(ctx(t), 1, 0, &b) })
		during(t, func() error {
			for { // as flow does with a Commit that failed
				_, err := r.Ack(ctx(t), want)
				if err == nil || IsPermanent(err) || !sleep(ctx(t), nil, 5*time.Millisecond) {
					return err
				}
			}
		})
		if len(pending(t, admin, key)) != 0 {
			t.Error("not acked")
		}
	})
	t.Run("tail", func(t *testing.T) {
		key := redistest.Key(t)
		r := openTail(t, rdb, TailConfig{Key: key, Block: 20 * time.Millisecond, OnEvent: tell})
		add(t, admin, key, 1)
		var b Batch
		during(t, func() error { return r.Read(ctx(t), 1, 0, &b) })
	})
	t.Run("writer", func(t *testing.T) {
		for _, cfg := range []WriterConfig{{}, {MaxLen: 10}} {
			cfg.Key, cfg.OnEvent = redistest.Key(t), tell
			w := openWriter(t, rdb, cfg)
			during(t, func() error {
				for { // as the sink does
					results := make([]Result, 1)
					err := w.Write(ctx(t), outgoing(1), results)
					if err == nil || IsPermanent(err) || !sleep(ctx(t), nil, 5*time.Millisecond) {
						return err
					}
				}
			})
		}
	})
	t.Run("at the start it is final", func(t *testing.T) {
		rotate(t, password)
		defer rotate(t, old)
		r, err := NewGroupReader(rdb, GroupConfig{Key: redistest.Key(t), Group: "g", Wait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Open(ctx(t)); !IsPermanent(err) {
			t.Error(err)
		}
	})
}

func TestFault_D12_PatienceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong, strange := replyError("WRONGPASS invalid username-password pair"), replyError("ERR upstream is away")
		var p Patience
		if !IsPermanent(p.Look(wrong)) || !IsPermanent(p.Look(strange)) {
			t.Error("patience before the first success")
		}
		p.Worked()
		for range 59 {
			for _, err := range []error{wrong, strange, &PermanentError{"read", "k", wrong}, &outcomeError{ErrNotWritten, wrong}} {
				if got := p.Look(err); IsPermanent(got) || !errors.Is(got, err) {
					t.Fatal(got)
				}
			}
			time.Sleep(time.Second)
		}
		for _, text := range []string{"WRONGTYPE x", "NOPERM x", "ERR unknown command 'xadd'", "ERR The ID specified in XADD is equal or smaller"} {
			if err := replyError(text); !IsPermanent(p.Look(err)) {
				t.Error(text)
			}
		}
		time.Sleep(2 * time.Second)
		if err := p.Look(wrong); !IsPermanent(err) {
			t.Error("no end of patience:", err)
		}
		p.Worked()
		if IsPermanent(p.Look(wrong)) {
			t.Error("a success begins anew")
		}
		if err := p.Look(context.Canceled); err != context.Canceled {
			t.Error(err)
		}
	})
}

// Rights that are needed when something fails for the first time are tried at the start, without a trace.
func TestFault_D12_RightsAreTriedAtTheStart(t *testing.T) {
	srv := redistest.Start(t)
	admin := srv.Client(t)
	for name, c := range map[string]struct {
		rules []string
		dead  bool // the dead key is refused, not the start
	}{
		"no eval":                  {[]string{"~*", "+@all", "-eval"}, false},
		"no xclaim":                {[]string{"~*", "+@all", "-xclaim"}, false},
		"no dead key":              {[]string{"~k", "+@all"}, true},
		"no xadd":                  {[]string{"~*", "+@all", "-xadd"}, true},
		"dead key of another type": {[]string{"~*", "+@all"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			srv.FlushAll(t)
			if name == "dead key of another type" {
				admin.Set(ctx(t), "k:dead", "no stream", 0)
			}
			rdb := srv.User(t, "worker", c.rules...)
			r, err := NewGroupReader(rdb, GroupConfig{Key: "k", Group: "g", DelayedEvery: -1})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Open(ctx(t)); (err != nil) == c.dead || err != nil && !IsPermanent(err) {
				t.Fatal(err)
			}
			defer func() { _ = r.Close(ctx(t)) }()
			if !c.dead {
				return
			}
			if err := r.CheckDead(ctx(t), "k:dead"); !IsPermanent(err) {
				t.Error(err)
			}
		})
	}
	t.Run("a writer", func(t *testing.T) {
		rdb := srv.User(t, "worker", "~*", "+@all", "-xadd")
		w, err := NewWriter(rdb, WriterConfig{Key: "failures"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Open(ctx(t)); !IsPermanent(err) {
			t.Error(err)
		}
	})
	t.Run("all is there", func(t *testing.T) {
		srv.FlushAll(t)
		r, _ := open(t, admin, GroupConfig{Key: "k"})
		if err := r.CheckDead(ctx(t), "k:dead"); err != nil {
			t.Fatal(err)
		}
		openWriter(t, admin, WriterConfig{Key: "failures"})
		if n := admin.Exists(ctx(t), "k:dead").Val() + admin.Exists(ctx(t), "failures").Val(); n != 0 {
			t.Error("a trace")
		}
		if n := len(pending(t, admin, "k")); n != 0 {
			t.Errorf("%d pending", n)
		}
	})
}
