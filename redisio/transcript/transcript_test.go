package transcript_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

func newStore(t *testing.T, rdb redis.UniversalClient, cfg transcript.Config) *transcript.Store {
	t.Helper()
	cfg.Prefix = "{" + redistest.Key(t) + "}:durable"
	s, err := transcript.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eachServer runs a test on a real server and on the embedded one.
func eachServer(t *testing.T, test func(*testing.T, redis.UniversalClient)) {
	t.Run("redis", func(t *testing.T) { test(t, redistest.Shared(t).Client(t)) })
	t.Run("embedded", func(t *testing.T) {
		srv, err := embedded.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		rdb := srv.Client()
		t.Cleanup(func() { rdb.Close() })
		test(t, rdb)
	})
}

// reply creates and claims a reply.
func reply(t *testing.T, s *transcript.Store, id string) transcript.Claim {
	t.Helper()
	if _, created, err := s.Create(t.Context(), id, transcript.Spec{}); err != nil || !created {
		t.Fatalf("created: %v, %v", created, err)
	}
	return claim(t, s, id)
}

func claim(t *testing.T, s *transcript.Store, id string) transcript.Claim {
	t.Helper()
	c, err := s.Claim(t.Context(), id, "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func values(texts ...string) (ops []transcript.Op) {
	for _, s := range texts {
		ops = append(ops, transcript.Value([]byte(s)))
	}
	return ops
}

func add(t *testing.T, s *transcript.Store, id string, c *transcript.Claim, ops ...transcript.Op) {
	t.Helper()
	if err := s.Append(t.Context(), id, c, ops...); err != nil {
		t.Fatal(err)
	}
}

// show reads a transcript from an entry on, as "1:a 2:reset 3:b end(done)".
func show(t *testing.T, s *transcript.Store, id string, after redisio.ID) string {
	t.Helper()
	page, err := s.Page(t.Context(), id, after, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range page.Entries {
		switch {
		case e.End != nil:
			out = append(out, "end("+string(e.End.State)+")")
		case e.Reset:
			out = append(out, fmt.Sprintf("%d:reset", e.ID.Seq))
		default:
			out = append(out, fmt.Sprintf("%d:%s", e.ID.Seq, e.Data))
		}
	}
	return strings.Join(out, " ")
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReply(t *testing.T) {
	eachServer(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb, transcript.Config{})
		c := reply(t, s, "a")
		add(t, s, "a", &c, values("one", "two")...)
		add(t, s, "a", &c, values("three")...)
		want(t, show(t, s, "a", redisio.ID{}), "1:one 2:two 3:three")
		want(t, show(t, s, "a", redisio.ID{Ms: c.Base.Ms, Seq: 2}), "3:three")
		info, err := s.Info(t.Context(), "a")
		if err != nil || info.State != transcript.Open || info.Values != 3 || info.Last.Seq != 3 ||
			info.ContentType != "text/plain" || time.Since(info.Created) > time.Hour {
			t.Errorf("%+v, %v", info, err)
		}
		add(t, s, "a", &c, transcript.Ending(transcript.End{State: transcript.Failed, Code: "x", Message: "why"}))
		want(t, show(t, s, "a", redisio.ID{}), "1:one 2:two 3:three end(failed)")
		var ended *transcript.EndedError
		if err := s.Append(t.Context(), "a", &c, values("more")...); !errors.As(err, &ended) ||
			ended.State != transcript.Failed {
			t.Errorf("after the end: %v", err)
		}
		if _, err := s.Claim(t.Context(), "a", ""); !errors.As(err, &ended) {
			t.Errorf("a claim after the end: %v", err)
		}
		if was, err := s.Finish(t.Context(), "a", transcript.End{State: transcript.Stopped}); err != nil ||
			was != transcript.Failed {
			t.Errorf("stopped after the end: %v, %v", was, err)
		}
		info, err = s.Info(t.Context(), "a")
		if diff := cmp.Diff(transcript.End{State: "failed", Code: "x", Message: "why"}, info.End); err != nil ||
			diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if _, created, err := s.Create(t.Context(), "a", transcript.Spec{}); err != nil || created {
			t.Errorf("created again: %v, %v", created, err)
		}
	})
}

func TestUnknown(t *testing.T) {
	s := newStore(t, redistest.Shared(t).Client(t), transcript.Config{})
	_, errInfo := s.Info(t.Context(), "x")
	_, errPage := s.Page(t.Context(), "x", redisio.ID{}, 10)
	_, errClaim := s.Claim(t.Context(), "x", "")
	errAppend := s.Append(t.Context(), "x", new(transcript.Claim))
	_, errFinish := s.Finish(t.Context(), "x", transcript.End{State: transcript.Stopped})
	_, errPost := s.Post(t.Context(), "x", transcript.Post{})
	for name, err := range map[string]error{"info": errInfo, "page": errPage, "claim": errClaim, "append": errAppend,
		"finish": errFinish, "post": errPost, "delete": s.Delete(t.Context(), "x")} {
		if !errors.Is(err, transcript.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var name *transcript.NameError
	if _, _, err := s.Create(t.Context(), strings.Repeat("x", 600), transcript.Spec{}); !errors.As(err, &name) {
		t.Errorf("a long name: %v", err)
	}
}

// A later attempt fences the earlier one, and knows how far that has come.
func TestAttempts(t *testing.T) {
	eachServer(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb, transcript.Config{Limits: transcript.Limits{MaxAttempts: 3}})
		old := reply(t, s, "a")
		add(t, s, "a", &old, values("one", "two")...)
		c := claim(t, s, "a")
		if c.Attempt != 2 || c.Next != 3 || c.Values != 2 || string(c.Last) != "two" {
			t.Errorf("%+v", c)
		}
		if err := s.Append(t.Context(), "a", &old, values("zombie")...); !errors.Is(
			err, transcript.ErrFenced) {
			t.Errorf("the first attempt: %v", err)
		}
		add(t, s, "a", &c, append([]transcript.Op{transcript.Reset()}, values("ONE")...)...)
		want(t, show(t, s, "a", redisio.ID{}), "3:reset 4:ONE")
		if c = claim(t, s, "a"); c.Values != 1 || string(c.Last) != "ONE" {
			t.Errorf("%+v", c)
		}
		far := c
		far.Next++
		if err := s.Append(t.Context(), "a", &far, values("far")...); !errors.Is(err, transcript.ErrBehind) {
			t.Errorf("after a loss: %v", err)
		}
		if _, err := s.Claim(t.Context(), "a", ""); !errors.Is(err, transcript.ErrExhausted) {
			t.Errorf("the fourth attempt: %v", err)
		}
		want(t, show(t, s, "a", redisio.ID{Ms: c.Base.Ms, Seq: 4}), "end(failed)")
	})
}

func TestTrim(t *testing.T) {
	eachServer(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb, transcript.Config{Limits: transcript.Limits{MaxLen: 3, MaxBytes: 10, MaxPart: 8}})
		c := reply(t, s, "a")
		add(t, s, "a", &c, values("a", "b", "c", "d", "e")...)
		want(t, show(t, s, "a", redisio.ID{}), "3:c 4:d 5:e")
		add(t, s, "a", &c, values("12345678")...)
		want(t, show(t, s, "a", redisio.ID{}), "4:d 5:e 6:12345678")
		add(t, s, "a", &c, values("x")...)
		want(t, show(t, s, "a", redisio.ID{}), "5:e 6:12345678 7:x")
		add(t, s, "a", &c, values("ABCDEFGH")...)
		want(t, show(t, s, "a", redisio.ID{}), "7:x 8:ABCDEFGH")
		var large *transcript.TooLargeError
		if err := s.Append(t.Context(), "a", &c, values("123456789")...); !errors.As(err, &large) {
			t.Errorf("an oversized part: %v", err)
		}
		info, err := s.Info(t.Context(), "a")
		if err != nil || info.First.Seq != 7 || info.Values != 8 {
			t.Errorf("%+v, %v", info, err)
		}
		many := make([]string, 2500) // more than a script takes at once
		for i := range many {
			many[i] = fmt.Sprint(i)
		}
		add(t, s, "a", &c, values(many...)...)
		want(t, show(t, s, "a", redisio.ID{}), "2507:2498 2508:2499")
	})
}

// A lost reply leads to no second copy, no hole and no wrong error.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	p := rig.NewProxy(t, redistest.Shared(t).Addr())
	s := newStore(t, p.Client(t), transcript.Config{})
	_ = reply(t, s, "first") // later the server has the scripts
	p.LoseReplies("evalsha", 1)
	if _, created, err := s.Create(t.Context(), "a", transcript.Spec{}); err != nil || !created {
		t.Errorf("created: %v, %v", created, err)
	}
	p.LoseReplies("evalsha", 1)
	c := claim(t, s, "a")
	if c.Attempt != 1 {
		t.Errorf("attempt %d", c.Attempt)
	}
	add(t, s, "a", &c, values("one")...)
	p.LoseReplies("evalsha", 1)
	add(t, s, "a", &c, values("two")...)
	p.LoseReplies("evalsha", 1)
	add(t, s, "a", &c, transcript.Reset(), transcript.Value([]byte("three")))
	want(t, show(t, s, "a", redisio.ID{}), "3:reset 4:three")
	if _, _, err := s.Create(t.Context(), "log", transcript.Spec{Kind: transcript.Log, ContentType: "t"}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b"} {
		if text == "b" {
			p.LoseReplies("evalsha", 1)
		}
		post := transcript.Post{Values: [][]byte{[]byte(text)}, ContentType: "t"}
		if got, err := s.Post(t.Context(), "log", post); err != nil || got.Verdict != transcript.Accepted {
			t.Errorf("%+v, %v", got, err)
		}
	}
	want(t, show(t, s, "log", redisio.ID{}), "1:a 2:b")
	if p.Lost() != 5 {
		t.Errorf("%d replies were lost", p.Lost())
	}
}

// After an append with an unknown outcome, the same values are not written twice, and others are not
// taken for them.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	p := rig.NewProxy(t, redistest.Shared(t).Addr())
	s := newStore(t, p.Client(t), transcript.Config{})
	c := reply(t, s, "a")
	add(t, s, "a", &c, values("one")...)
	for _, text := range []string{"two", "three"} {
		ctx, cancel := context.WithCancel(t.Context())
		p.LoseReplies("evalsha", 1)
		rdb := redis.UniversalClient(p.Client(t))
		rdb.AddHook(hook(func(err error) {
			if err != nil {
				cancel()
			}
		}))
		cut, err := transcript.New(rdb, s.Config())
		if err != nil {
			t.Fatal(err)
		}
		if err := cut.Append(ctx, "a", &c, values(text)...); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", text, err)
		}
		if text == "two" {
			add(t, s, "a", &c, values("two")...)
		}
	}
	add(t, s, "a", &c, values("four", "five")...)
	want(t, show(t, s, "a", redisio.ID{}), "1:one 2:two 3:three 4:four 5:five")
}

// hook sees the error of each command.
type hook func(error)

func (h hook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h(err)
		return err
	}
}

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A failover may lose a claim. Its writer does not take itself for one that was replaced, and cannot
// be mistaken for the next writer, which has the same number.
func TestLostClaim(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, transcript.Config{})
	first := reply(t, s, "a")
	add(t, s, "a", &first, values("one")...)
	key := s.Config().Prefix + ":state:a"
	old := rdb.Dump(t.Context(), key).Val()
	lost := claim(t, s, "a")
	if err := rdb.RestoreReplace(t.Context(), key, time.Minute, old).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), "a", &lost, values("x")...); !errors.Is(err, transcript.ErrBehind) {
		t.Errorf("the lost claim: %v", err)
	}
	next := claim(t, s, "a")
	if err := s.Append(t.Context(), "a", &lost, values("x")...); !errors.Is(err, transcript.ErrFenced) {
		t.Errorf("the lost claim has number %d, the next one %d: %v", lost.Attempt, next.Attempt, err)
	}
	add(t, s, "a", &next, values("two")...)
	want(t, show(t, s, "a", redisio.ID{}), "1:one 2:two")
}

// A stream without its entries, such as one that the server evicted, has no later page.
func TestEvicted(t *testing.T) {
	t.Parallel()
	rdb := redistest.Shared(t).Client(t)
	s := newStore(t, rdb, transcript.Config{})
	c := reply(t, s, "a")
	add(t, s, "a", &c, values("one", "two")...)
	rdb.Del(t.Context(), s.StreamKey("a"))
	if page, err := s.Page(t.Context(), "a", redisio.ID{}, 10); err != nil || !page.UpToDate ||
		page.Info.Last.Seq != 2 {
		t.Errorf("%+v, %v", page, err)
	}
	add(t, s, "a", &c, values("three")...)
	want(t, show(t, s, "a", redisio.ID{}), "3:three")
}

// A full server refuses values. It does not refuse an end or a deletion, which frees memory.
func TestFull(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client(t)
	s := newStore(t, rdb, transcript.Config{})
	for _, id := range []string{"a", "b"} {
		c := reply(t, s, id)
		add(t, s, id, &c, values("one")...)
	}
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if was, err := s.Finish(t.Context(), "a", transcript.End{State: transcript.Stopped}); err != nil ||
		was != transcript.Open {
		t.Errorf("%v, %v", was, err)
	}
	want(t, show(t, s, "a", redisio.ID{}), "1:one end(stopped)")
	if err := s.Delete(t.Context(), "b"); err != nil {
		t.Error(err)
	}
}

// Nothing is kept forever.
func TestLife(t *testing.T) {
	eachServer(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb, transcript.Config{Limits: transcript.Limits{TTL: 10 * time.Hour, Keep: time.Hour}})
		c := reply(t, s, "a")
		add(t, s, "a", &c, values("x")...)
		life := func(what string, lo, hi time.Duration) {
			t.Helper()
			keys, err := rdb.Keys(t.Context(), s.Config().Prefix+"*").Result()
			if err != nil || len(keys) < 2 {
				t.Fatalf("%v, %v", keys, err)
			}
			for _, key := range keys {
				ttl := rdb.PTTL(t.Context(), key).Val()
				if strings.HasSuffix(key, ":a") && (ttl < lo || ttl > hi) || ttl <= 0 {
					t.Errorf("%s: %s lives for %v", what, key, ttl)
				}
			}
		}
		life("open", 9*time.Hour, 10*time.Hour)
		if was, err := s.Finish(t.Context(), "a", transcript.End{State: transcript.Stopped}); err != nil ||
			was != transcript.Open {
			t.Errorf("%v, %v", was, err)
		}
		life("ended", 50*time.Minute, time.Hour)
		want(t, show(t, s, "a", redisio.ID{}), "1:x end(stopped)")
		if list, err := s.Recent(t.Context(), 10); err != nil || len(list) != 1 || list[0].ID != "a" ||
			list[0].State != transcript.Stopped {
			t.Errorf("%+v, %v", list, err)
		}
		if err := s.Delete(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if n := rdb.Exists(t.Context(), s.StreamKey("a")).Val(); n != 0 {
			t.Error("deleted, but still there")
		}
		stops := rdb.XRange(t.Context(), s.StopsKey(), "-", "+").Val()
		if len(stops) != 2 || stops[0].Values["data"] != "a" {
			t.Errorf("told %v", stops)
		}
	})
}

// Of many writers that claim at the same time only one can write, and no value is lost or doubled.
func TestRace(t *testing.T) {
	t.Parallel()
	s := newStore(
		t,
		redistest.Shared(t).Client(t),
		transcript.Config{Limits: transcript.Limits{MaxAttempts: 1_000_000}},
	)
	if _, _, err := s.Create(t.Context(), "a", transcript.Spec{}); err != nil {
		t.Fatal(err)
	}
	const total = 100
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				c, err := s.Claim(t.Context(), "a", "t")
				if ended := (*transcript.EndedError)(nil); errors.As(err, &ended) {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
				for n := c.Values; err == nil && n < total; n++ {
					err = s.Append(t.Context(), "a", &c, values(fmt.Sprint(n))...)
				}
				if err == nil {
					err = s.Append(t.Context(), "a", &c, transcript.Ending(transcript.End{State: transcript.Done}))
				}
				if err != nil && !errors.Is(err, transcript.ErrFenced) {
					if ended := (*transcript.EndedError)(nil); !errors.As(err, &ended) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	page, err := s.Page(t.Context(), "a", redisio.ID{}, 1000)
	if err != nil || len(page.Entries) != total+1 || !page.UpToDate {
		t.Fatalf("%d entries, %v", len(page.Entries), err)
	}
	for i, e := range page.Entries[:total] {
		if string(e.Data) != fmt.Sprint(i) {
			t.Fatalf("value %d is %q", i, e.Data)
		}
	}
}

// On a server with ACLs, the rights of Access suffice.
func TestAccess(t *testing.T) {
	cfg := transcript.Config{Prefix: "{" + redistest.Key(t) + "}:durable"}
	rdb := redistest.Shared(t).User(t, "transcripts", cfg.Access().Rules()...)
	s, err := transcript.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := reply(t, s, "a")
	add(t, s, "a", &c, values("x")...)
	c = claim(t, s, "a")
	add(t, s, "a", &c, transcript.Reset())
	if _, _, err := s.Create(t.Context(), "log", transcript.Spec{Kind: transcript.Log, Values: [][]byte{{1}},
		Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Error(err)
	}
	if _, err := s.Post(t.Context(), "log", transcript.Post{Values: [][]byte{{1}}, Producer: "p", Close: true}); err != nil {
		t.Error(err)
	}
	if _, err := s.Finish(t.Context(), "a", transcript.End{State: transcript.Stopped}); err != nil {
		t.Error(err)
	}
	want(t, show(t, s, "a", redisio.ID{}), "2:reset end(stopped)")
	if _, err := s.Recent(t.Context(), 3); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Touch(t.Context(), "log"), s.Delete(t.Context(), "a")); err != nil {
		t.Error(err)
	}
}

func TestMistakes(t *testing.T) {
	if _, err := transcript.New(nil, transcript.Config{Limits: transcript.Limits{MaxLen: -1, TTL: 1}}); strings.Count(
		err.Error(),
		"\n",
	) != 3 {
		t.Errorf("%v", err)
	}
	if err := (transcript.Config{Prefix: "untagged"}).Validate(); err == nil {
		t.Error("a prefix without a hash tag is accepted")
	}
}
