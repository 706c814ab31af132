package inspect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// run runs a page until the returned function is called, or the test ends.
func run(t *testing.T, p *Page) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return end
}

// looks returns what the page of a process shows now.
func looks(p *Page, graph string) state {
	return p.board.see(context.Background(), graph, p.refresh)
}

// seen is looks, once Redis has answered within redisTimeout, which is short for a busy machine.
func seen(t *testing.T, p *Page, graph string) (s state) {
	t.Helper()
	retried(t, "Redis answers the page", func() error {
		if s = looks(p, graph); s.Notice != "" {
			return errors.New(s.Notice)
		}
		return nil
	})
	return s
}

// retried repeats what waits for Redis only for redisTimeout.
func retried(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	defer func() {
		if err != nil {
			t.Logf("the last error: %v", err)
		}
	}()
	redistest.Soon(t, what, func() bool { err = try(); return err == nil })
}

// published publishes a report.
func published(t *testing.T, s *shared, r *Report) {
	t.Helper()
	retried(t, "a report is published", func() error { return s.publish(t.Context(), r) })
}

func client(t *testing.T, addr string) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestProcessesShowEachOther(t *testing.T) {
	srv := redistest.Start(t)
	var pages [3]*Page
	var ends [3]func()
	var logs [3]lines
	for i := range pages {
		show := parts.New()
		started(t, show, orders("billing"))
		started(t, show, broken(fmt.Sprintf("own %d", i)))
		pages[i] = New(client(t, srv.Addr()), show, Config{App: "shop", Log: logs[i].logger()})
		ends[i] = run(t, pages[i])
	}
	other := New(client(t, srv.Addr()), parts.New(), Config{App: "another"})
	run(t, other)
	redistest.Soon(t, "all are shown", func() bool { return len(looks(pages[0], "").Processes) == 3 })
	redistest.Soon(t, "the rates are those of all", func() bool {
		s := looks(pages[0], "billing")
		return s.Graph != nil && len(s.Graph.Processes) == 3 && s.Graph.measured && len(s.Graphs) == 4
	})
	if n := len(looks(other, "").Processes); n != 1 {
		t.Errorf("another application shows %d processes", n)
	}

	ends[2]() // leaves in order
	if log := logs[2].String(); strings.Contains(log, "the report was not removed") &&
		(strings.Contains(log, "i/o timeout") || strings.Contains(log, "deadline exceeded")) {
		retried(t, "it leaves", func() error { return pages[2].shared.leave(t.Context()) }) // Redis was slow
	}
	redistest.Soon(t, "it has left", func() bool { return len(looks(pages[0], "").Processes) == 2 })

	killed := pages[1].own.process // as if: its last report is old
	rdb := client(t, srv.Addr())
	gone := func() bool {
		if err := rdb.ZAdd(t.Context(), pages[0].shared.index, redis.Z{Score: 1, Member: killed}).Err(); err != nil {
			t.Fatal(err)
		}
		for _, p := range looks(pages[0], "").Processes {
			if p.ID == killed {
				return p.Gone
			}
		}
		return false
	}
	redistest.Soon(t, "it is gone", gone)
}

func TestRedisAway(t *testing.T) {
	srv := redistest.Start(t)
	show := parts.New()
	started(t, show, orders("billing"))
	p := New(client(t, srv.Addr()), show, Config{Log: silentLog})
	run(t, p)
	seen(t, p, "")
	srv.Kill(t)
	redistest.Soon(t, "the page says so", func() bool {
		s := looks(p, "billing")
		return strings.HasPrefix(s.Notice, "Redis does not answer") && s.Graph != nil && len(s.Processes) == 1
	})
}

// A Redis that hangs is away too: the page does not wait for go-redis' own timeouts.
func TestRedisHangs(t *testing.T) {
	srv := redistest.Start(t)
	show := parts.New()
	g := started(t, show, orders("billing"))
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr(), ReadTimeout: -1}) // none
	t.Cleanup(func() { _ = rdb.Close() })
	p := New(rdb, show, acting(silentLog))
	if err := srv.Client(t).Do(t.Context(), "client", "pause", 60_000, "all").Err(); err != nil {
		t.Fatal(err)
	}
	if s := looks(p, "billing"); !strings.HasPrefix(s.Notice, "Redis does not answer") || s.Graph == nil {
		t.Errorf("notice %q", s.Notice)
	}
	if _, o := send(t, p, `{"do":"pause","graph":"billing"}`); !o.OK || g.State() != flow.Paused {
		t.Errorf("an action here: %+v", o)
	}
}

// Foreign values in the application's keys do no harm.
func TestForeignReports(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	p := New(rdb, parts.New(), Config{})
	for id, value := range map[string]string{"a": "no gzip", "b": "", "c": "\x1f\x8b"} {
		rdb.ZAdd(t.Context(), p.shared.index, redis.Z{Score: 1e15, Member: id})
		rdb.Set(t.Context(), p.shared.key+id, value, 0)
	}
	if s := seen(t, p, ""); len(s.Processes) != 1 {
		t.Errorf("%d processes", len(s.Processes))
	}
}

// The index forgets processes, and holds a bounded number of them.
func TestIndexCleansItself(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	p := New(rdb, parts.New(), Config{})
	for i := range 2 * maxProcesses {
		rdb.ZAdd(t.Context(), p.shared.index, redis.Z{Score: float64(i), Member: fmt.Sprint(i)})
	}
	published(t, p.shared, p.own.collect(t.Context()))
	if n := rdb.ZCard(t.Context(), p.shared.index).Val(); n != 1 {
		t.Errorf("%d processes in the index", n)
	}
	for i := range 2 * maxProcesses {
		rdb.ZAdd(t.Context(), p.shared.index, redis.Z{Score: 1e12 * 9, Member: fmt.Sprint(i)})
	}
	published(t, p.shared, p.own.collect(t.Context()))
	if n := rdb.ZCard(t.Context(), p.shared.index).Val(); n > maxProcesses {
		t.Errorf("%d processes in the index", n)
	}
	if ttl := rdb.PTTL(t.Context(), p.shared.key+p.own.process).Val(); ttl <= 0 || ttl > forgetAfter {
		t.Errorf("the report is kept for %v", ttl)
	}
}

func TestAccess(t *testing.T) {
	srv := redistest.Start(t)
	rules := append(Config{App: "shop"}.Access().Rules(), "on", ">secret")
	if err := srv.Client(t).ACLSetUser(t.Context(), "page", rules...).Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{
		Addr: srv.Addr(), Username: "page", Password: "secret", DisableIdentity: true, MaxRetries: -1,
	})
	defer rdb.Close()
	p := New(rdb, parts.New(), Config{App: "shop"})
	published(t, p.shared, p.own.collect(t.Context()))
	if s := seen(t, New(rdb, parts.New(), Config{App: "shop"}), ""); len(s.Processes) != 2 {
		t.Errorf("%d processes", len(s.Processes))
	}
	retried(t, "it leaves", func() error { return p.shared.leave(t.Context()) })
	if err := rdb.Set(t.Context(), "other", "x", 0).Err(); err == nil {
		t.Error("it may write other keys")
	}
}
