package dedupe

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func newDedupe(t *testing.T, rdb redis.UniversalClient, cfg Config) *Store {
	t.Helper()
	s, err := New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDedupeStore(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newDedupe(t, rdb, Config{Prefix: redistest.Key(t)})
	step := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	done := func(key, token string) {
		t.Helper()
		if err := s.Done(rig.Ctx(t), []string{key}, []string{token}); err != nil {
			t.Fatal(err)
		}
	}
	release := func(key, token string) {
		t.Helper()
		if err := s.Release(rig.Ctx(t), []string{key}, []string{token}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"k", "with space\r\n", strings.Repeat("long", 1000), ""} {
		step("a new key", rig.Claimed(t, s, key, "1-0\na"), "mine")
		step("the same claim", rig.Claimed(t, s, key, "1-0\na"), "mine")
		step("somebody else's", rig.Claimed(t, s, key, "2-0\nb"), "busy")
		step("a name that begins alike", rig.Claimed(t, s, key, "1-01\nb"), "busy")
		release(key, "2-0\nb")
		step("after a release by who has it not", rig.Claimed(t, s, key, "2-0\nb"), "busy")
		step("the same owner's next life", rig.Claimed(t, s, key, "1-0\nc"), "mine")
		release(key, "1-0\na") // a zombie
		step("after a release by its former life", rig.Claimed(t, s, key, "2-0\nb"), "busy")
		release(key, "1-0\nc")
		step("after its release", rig.Claimed(t, s, key, "2-0\nb"), "mine")
		done(key, "1-0\nc") // the work was done before the claim was lost
		step("done by another", rig.Claimed(t, s, key, "3-0\nd"), "done")
		release(key, "2-0\nb")
		step("done, and released by who failed", rig.Claimed(t, s, key, "2-0\nb"), "done")
		done(key, "2-0\nb")
	}
	step("no owner", rig.Claimed(t, s, "x", "\na"), "mine")
	step("no owner either", rig.Claimed(t, s, "x", "\nb"), "busy")
	busy, err := s.Claim(rig.Ctx(t), []string{"x", "k", "y"}, []string{"\nc", "\nc", "\nc"})
	if err != nil || busy[0] < 9*time.Minute || busy[0] > 10*time.Minute || busy[1] >= 0 || busy[2] != 0 {
		t.Errorf("%v, %v", busy, err)
	}
	iter := rdb.Scan(rig.Ctx(t), 0, s.cfg.Prefix+"*", 1000).Iterator()
	for iter.Next(rig.Ctx(t)) {
		if ttl := rdb.PTTL(rig.Ctx(t), iter.Val()).Val(); ttl <= 0 || len(iter.Val()) > 400 {
			t.Errorf("%.80q lives for %v", iter.Val(), ttl)
		}
	}
}

func TestDedupeStoreForgets(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newDedupe(
		t,
		rdb,
		Config{Prefix: redistest.Key(t), Window: 50 * time.Millisecond, Hold: 50 * time.Millisecond},
	)
	rig.Claimed(t, s, "claimed", "\na")
	if err := s.Done(rig.Ctx(t), []string{"done"}, []string{"\na"}); err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "the claim ends", func() bool { return rig.Claimed(t, s, "claimed", "\nb") == "mine" })
	redistest.Soon(t, "what is done is forgotten", func() bool { return rig.Claimed(t, s, "done", "\nb") == "mine" })
}

func TestDedupeStoreRace(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	s := newDedupe(t, rdb, Config{Prefix: redistest.Key(t)})
	var keys [200]string
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	var won atomic.Int64
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			tokens := make([]string, len(keys))
			for i := range tokens {
				tokens[i] = fmt.Sprintf("%d\n%d", w, i)
			}
			busy, err := s.Claim(rig.Ctx(t), keys[:], tokens)
			if err != nil {
				t.Error(err)
			}
			for _, b := range busy {
				if b == 0 {
					won.Add(1)
				}
			}
		})
	}
	all.Wait()
	if won.Load() != int64(len(keys)) {
		t.Errorf("%d claims of %d keys", won.Load(), len(keys))
	}
}

func TestDedupeStoreLostReplies(t *testing.T) {
	t.Parallel()
	srv := redistest.Shared(t)
	p := rig.NewProxy(t, srv.Addr())
	s := newDedupe(t, p.Client(t), Config{Prefix: redistest.Key(t)})
	p.LoseReplies("nx", 1) // the client tries again
	if got := rig.Claimed(t, s, "a", "\na"); got != "mine" {
		t.Errorf("a claim whose reply was lost: %s", got)
	}
	p.LoseReplies("eval", 1)
	if err := s.Release(rig.Ctx(t), []string{"a"}, []string{"\na"}); err != nil {
		t.Error(err)
	}
	if got := rig.Claimed(t, s, "a", "\nb"); got != "mine" {
		t.Errorf("after its release: %s", got)
	}
	p.SetDown(true)
	if _, err := s.Claim(rig.Ctx(t), []string{"a"}, []string{"\nc"}); err == nil || redisio.IsPermanent(err) {
		t.Errorf("while the server is away: %v", err)
	}
	if err := s.Done(rig.Ctx(t), []string{"a"}, []string{"\nb"}); err == nil || redisio.IsPermanent(err) {
		t.Errorf("while the server is away: %v", err)
	}
	p.SetDown(false)
	if err := s.Done(rig.Ctx(t), []string{"a"}, []string{"\nb"}); err != nil {
		t.Error(err)
	}
	if got := rig.Claimed(t, s, "a", "\nc"); got != "done" {
		t.Errorf("in the end: %s", got)
	}
	if p.Lost() != 2 {
		t.Errorf("%d replies were lost", p.Lost())
	}
}

func TestDedupeStoreMistakes(t *testing.T) {
	if _, err := New(nil, Config{Window: -1, Hold: 1}); strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("%v", err)
	}
	rdb := redistest.Shared(t).Client(t)
	s := newDedupe(t, rdb, Config{Prefix: redistest.Key(t)})
	if err := rdb.LPush(rig.Ctx(t), s.key("list"), "x").Err(); err != nil {
		t.Fatal(err)
	}
	var p *redisio.PermanentError
	if _, err := s.Claim(rig.Ctx(t), []string{"list"}, []string{"\na"}); !errors.As(err, &p) {
		t.Errorf("claim of a key of another type: %v", err)
	}
}
