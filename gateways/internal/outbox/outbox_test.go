package outbox

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// The password changes on the server before it changes here. Writes wait for the new one.
func TestFault_D12_OutboxWaitsForACredential(t *testing.T) {
	srv := redistest.Start(t)
	o, err := srv.NewUser(t.Context(), "worker", "~*", "+@all")
	if err != nil {
		t.Fatal(err)
	}
	admin, rdb, old := srv.Client(t), patient(t, o), o.Password
	rotate := func(t *testing.T, to string) {
		t.Helper()
		if err := admin.Do(t.Context(), "acl", "setuser", "worker", "resetpass", ">"+to).Err(); err != nil {
			t.Fatal(err)
		}
		if err := admin.Do(t.Context(), "client", "kill", "user", "worker").Err(); err != nil {
			t.Fatal(err)
		}
	}
	closed := func(t *testing.T, o *Outbox) {
		t.Cleanup(func() {
			if err := o.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	note := func() *Entry {
		return &Entry{Out: redisio.Outgoing{Fields: redisio.Fields{{Name: "data", Value: []byte("x")}}}}
	}
	t.Run("a writer that is opened again", func(t *testing.T) {
		o := New(rdb, writer.Config{Key: redistest.Key(t)})
		o.Patient = true
		closed(t, o)
		o.Hold()
		if err := o.Write(t.Context(), note()); err != nil {
			t.Fatal(err)
		}
		if err := o.Release(t.Context()); err != nil { // it disconnects
			t.Fatal(err)
		}
		rotate(t, "WRONG")
		ended := make(chan error, 1)
		go func() { ended <- o.Write(t.Context(), note()) }()
		redistest.Soon(t, "it was refused, or has failed", func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.health.away != nil || len(ended) > 0
		})
		rotate(t, old)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("at the start it is final", func(t *testing.T) {
		rotate(t, "WRONG")
		defer rotate(t, old)
		o := New(rdb, writer.Config{Key: redistest.Key(t)})
		o.Patient = true
		closed(t, o)
		ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
		defer cancel()
		if err := o.Write(ctx, note()); !redisio.IsPermanent(err) {
			t.Error(err)
		}
	})
}

// patient returns a client that does not give up on a busy machine.
func patient(t *testing.T, o *redis.Options) *redis.Client {
	o.ReadTimeout = redistest.Patience / 4
	rdb := redis.NewClient(o)
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// letter counts its releases.
type letter struct {
	Entry
	released atomic.Int32
}

func (l *letter) Release() { l.released.Add(1) }

// halted returns an outbox that sends to began and receives from proceed before each pipeline.
func halted(t *testing.T) (o *Outbox, began, proceed chan struct{}) {
	o = New(patient(t, redistest.Shared(t).Options()), writer.Config{Key: redistest.Key(t)})
	began, proceed = make(chan struct{}, 9), make(chan struct{})
	o.Open = func(context.Context) error { began <- struct{}{}; <-proceed; return nil }
	t.Cleanup(func() {
		if err := o.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return o, began, proceed
}

// A letter is released once, by the last of its two users.
func TestReleases(t *testing.T) {
	post := func(o *Outbox) *letter {
		l := &letter{Entry: Entry{Ev: make(chan error, MostEvents), notify: true}}
		l.Out.Fields = redisio.Fields{{Name: "data", Value: []byte("x")}}
		o.Post(l)
		return l
	}
	released := func(t *testing.T, l *letter, want int32) {
		t.Helper()
		if got := l.released.Load(); got != want {
			t.Errorf("released %d times, want %d", got, want)
		}
	}
	t.Run("by the caller", func(t *testing.T) {
		o, _, proceed := halted(t)
		close(proceed)
		l := post(o)
		if err := <-l.Ev; err != nil {
			t.Fatal(err)
		}
		o.mu.Lock() // held until the results are sorted
		released(t, l, 0)
		o.mu.Unlock()
		o.Leave(l)
		released(t, l, 1)
	})
	t.Run("by the outbox", func(t *testing.T) {
		o, began, proceed := halted(t)
		left, next := post(o), (*letter)(nil)
		<-began // it is taken, and not sent
		o.Leave(left)
		released(t, left, 0)
		next = post(o)
		close(proceed)
		if err := <-next.Ev; err != nil {
			t.Fatal(err)
		}
		o.Leave(next)
		released(t, left, 1)
		released(t, next, 1)
	})
	t.Run("in the queue", func(t *testing.T) {
		o, began, proceed := halted(t)
		first := post(o)
		<-began
		queued := post(o)
		o.Leave(queued)
		released(t, queued, 1)
		close(proceed)
		if err := <-first.Ev; err != nil {
			t.Fatal(err)
		}
	})
	t.Run("after a failure", func(t *testing.T) {
		o, _, _ := halted(t)
		if err := o.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := post(o)
		if err := <-l.Ev; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		o.Leave(l)
		released(t, l, 1)
	})
}
