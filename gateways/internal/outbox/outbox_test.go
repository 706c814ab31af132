package outbox

import (
	"context"
	"testing"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/writer"
)

// The password changes on the server before it changes here. Writes wait for the new one.
func TestFault_D12_OutboxWaitsForACredential(t *testing.T) {
	srv := redistest.Start(t)
	admin, rdb := srv.Client(t), srv.User(t, "worker", "~*", "+@all")
	old := rdb.Options().Password
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
