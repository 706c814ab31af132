package reader

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/internal/rig/writers"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// If a password changes on the server earlier than in the client, the reader waits for the new one.
func TestFault_D12_CredentialThatIsLate(t *testing.T) {
	srv := redistest.Start(t)
	admin, rdb := srv.Client(t), srv.User(t, "worker", "~*", "+@all")
	password := "WRONG"
	rotate := func(t *testing.T, to string) {
		t.Helper()
		if err := admin.Do(rig.Ctx(t), "acl", "setuser", "worker", "resetpass", ">"+to).Err(); err != nil {
			t.Fatal(err)
		}
		if err := admin.Do(rig.Ctx(t), "client", "kill", "user", "worker").Err(); err != nil {
			t.Fatal(err)
		}
	}
	old := rdb.Options().Password
	refused := make(chan redisio.Event, 16)
	tell := func(e redisio.Event) {
		if e.Kind == redisio.EventRefused {
			refused <- e
		}
	}
	// during runs work while the password is wrong, until an event has reported it.
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
		case <-rig.Ctx(t).Done():
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
		r, err := NewGroup(
			rdb,
			GroupConfig{
				Key:     key,
				Group:   "g",
				Tuning:  Tuning{Block: 20 * time.Millisecond, DelayedEvery: -1},
				OnEvent: tell,
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Open(rig.Ctx(t)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close(rig.Ctx(t)) }()
		want := rig.Add(t, admin, key, 1)
		var b redisio.Batch
		during(t, func() error { return r.Read(rig.Ctx(t), 1, 0, &b) })
		during(t, func() error {
			for { // as flow does with a Commit that failed
				_, err := r.Ack(rig.Ctx(t), want)
				if err == nil || redisio.IsPermanent(err) || !fault.Sleep(rig.Ctx(t), nil, 5*time.Millisecond) {
					return err
				}
			}
		})
		if len(rig.Pending(t, admin, key)) != 0 {
			t.Error("not acked")
		}
	})
	t.Run("tail", func(t *testing.T) {
		key := redistest.Key(t)
		r := openTail(t, rdb, TailConfig{Key: key, Block: 20 * time.Millisecond, OnEvent: tell})
		rig.Add(t, admin, key, 1)
		var b redisio.Batch
		during(t, func() error { return r.Read(rig.Ctx(t), 1, 0, &b) })
	})
	t.Run("writer", func(t *testing.T) {
		for _, cfg := range []writer.Config{{}, {MaxLen: 10}} {
			cfg.Key, cfg.OnEvent = redistest.Key(t), tell
			w := writers.Open(t, rdb, cfg)
			during(t, func() error {
				for { // as the sink does
					results := make([]redisio.Result, 1)
					err := w.Write(rig.Ctx(t), rig.Outgoing(1), results)
					if err == nil || redisio.IsPermanent(err) || !fault.Sleep(rig.Ctx(t), nil, 5*time.Millisecond) {
						return err
					}
				}
			})
		}
	})
	t.Run("at the start it is final", func(t *testing.T) {
		rotate(t, password)
		defer rotate(t, old)
		r, err := NewGroup(rdb, GroupConfig{Key: redistest.Key(t), Group: "g", Wait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Open(rig.Ctx(t)); !redisio.IsPermanent(err) {
			t.Error(err)
		}
	})
}

func TestFault_D12_PatienceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong, strange := fault.ReplyError(
			"WRONGPASS invalid username-password pair",
		), fault.ReplyError(
			"ERR upstream is away",
		)
		var p redisio.Patience
		if !redisio.IsPermanent(p.Look(wrong)) || !redisio.IsPermanent(p.Look(strange)) {
			t.Error("patience before the first success")
		}
		p.Worked()
		for range 59 {
			for _, err := range []error{wrong, strange, &redisio.PermanentError{Op: "read", Key: "k", Err: wrong},
				&fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: wrong}} {
				if got := p.Look(err); redisio.IsPermanent(got) || !errors.Is(got, err) {
					t.Fatal(got)
				}
			}
			time.Sleep(time.Second)
		}
		for _, text := range []string{"WRONGTYPE x", "NOPERM x", "ERR unknown command 'xadd'",
			"ERR The ID specified in XADD is equal or smaller"} {
			if err := fault.ReplyError(text); !redisio.IsPermanent(p.Look(err)) {
				t.Error(text)
			}
		}
		time.Sleep(2 * time.Second)
		if err := p.Look(wrong); !redisio.IsPermanent(err) {
			t.Error("no end of patience:", err)
		}
		p.Worked()
		if redisio.IsPermanent(p.Look(wrong)) {
			t.Error("a success begins anew")
		}
		if err := p.Look(context.Canceled); err != context.Canceled {
			t.Error(err)
		}
	})
}

// Rights that are needed only after a failure are tested at the start, without side effects.
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
				admin.Set(rig.Ctx(t), "k:dead", "no stream", 0)
			}
			rdb := srv.User(t, "worker", c.rules...)
			r, err := NewGroup(rdb, GroupConfig{Key: "k", Group: "g", Tuning: Tuning{DelayedEvery: -1}})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Open(rig.Ctx(t)); (err != nil) == c.dead || err != nil && !redisio.IsPermanent(err) {
				t.Fatal(err)
			}
			defer func() { _ = r.Close(rig.Ctx(t)) }()
			if !c.dead {
				return
			}
			if err := r.CheckDead(rig.Ctx(t), "k:dead"); !redisio.IsPermanent(err) {
				t.Error(err)
			}
		})
	}
	t.Run("a writer", func(t *testing.T) {
		rdb := srv.User(t, "worker", "~*", "+@all", "-xadd")
		w, err := writer.New(rdb, writer.Config{Key: "failures"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Open(rig.Ctx(t)); !redisio.IsPermanent(err) {
			t.Error(err)
		}
	})
	t.Run("all is there", func(t *testing.T) {
		srv.FlushAll(t)
		r, _ := open(t, admin, GroupConfig{Key: "k"})
		if err := r.CheckDead(rig.Ctx(t), "k:dead"); err != nil {
			t.Fatal(err)
		}
		writers.Open(t, admin, writer.Config{Key: "failures"})
		if n := admin.Exists(rig.Ctx(t), "k:dead").Val() + admin.Exists(rig.Ctx(t), "failures").Val(); n != 0 {
			t.Error("a trace")
		}
		if n := len(rig.Pending(t, admin, "k")); n != 0 {
			t.Errorf("%d pending", n)
		}
	})
}
