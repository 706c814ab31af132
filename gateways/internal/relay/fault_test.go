package relay_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/streamerson/streamerson-go/gateways/internal/relay"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// said is a log that several goroutines write to.
type said struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.b.String(), text)
}

// A relay and its listeners, including those that read history, wait for a late credential.
func TestFault_D12_RelayWaitsForACredential(t *testing.T) {
	srv := redistest.Start(t)
	worker := srv.User(t, "worker", "~*", "+@all")
	admin := &stand{srv.Client(t), redistest.Key(t)}
	rotate := func(to string) {
		t.Helper()
		if err := admin.rdb.Do(t.Context(), "acl", "setuser", "worker", "resetpass", ">"+to).Err(); err != nil {
			t.Fatal(err)
		}
		if err := admin.rdb.Do(t.Context(), "client", "kill", "user", "worker").Err(); err != nil {
			t.Fatal(err)
		}
	}
	var log said
	s := &stand{worker, admin.key}
	cfg := s.config()
	cfg.Recent, cfg.Log = -1, slog.New(slog.NewTextHandler(&log, nil)) // history comes from Redis
	r := s.relay(t, cfg)
	live := listen(t, r, relay.Options{All: true, From: "0"})
	admin.add(t, "x", "a")
	if got := strings.Join(texts(t, live, 1), ""); got != "a" {
		t.Fatalf("got %q", got)
	}
	late := listen(t, r, relay.Options{All: true, From: "0"})
	rotate("WRONG")
	type outcome struct {
		text string
		err  error
	}
	ended := make(chan outcome, 1)
	go func() {
		b, err := late.Next(t.Context())
		var o outcome
		for o.err = err; len(b.Items) > 0; b.Items = b.Items[1:] {
			o.text += b.Items[0].Value
		}
		ended <- o
	}()
	redistest.Soon(t, "both were refused, or one has ended", func() bool {
		return log.has("cannot read history, will retry") && log.has("WRONGPASS") || len(ended) > 0
	})
	admin.add(t, "x", "b")
	rotate(worker.Options().Password)
	o := <-ended
	if o.err != nil {
		t.Fatal(o.err)
	}
	got := o.text
	if len(got) < 2 {
		got += strings.Join(texts(t, late, 2-len(got)), "")
	}
	if got != "ab" {
		t.Errorf("history: %q", got)
	}
	if got := strings.Join(texts(t, live, 1), ""); got != "b" {
		t.Errorf("live: %q", got)
	}
}
