package source_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

func TestTailStarts(t *testing.T) {
	s := newStand(t)
	var ids []string
	for _, v := range []string{"a", "b", "c"} {
		ids = append(ids, s.rdb.XAdd(t.Context(), redistest.Entry(s.key, "data", v)).Val())
	}
	b, err := redisio.ParseID(ids[1])
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		from redisio.Start
		want []string
	}{
		"now by default": {redisio.Start{}, []string{"d"}},
		"end":            {redisio.StartEnd(), []string{"d"}},
		"beginning":      {redisio.StartBeginning(), []string{"a", "b", "c", "d"}},
		"behind an id":   {redisio.StartID(b), []string{"c", "d"}},
		"a time":         {redisio.StartTime(time.Now().Add(-time.Hour)), []string{"a", "b", "c", "d"}},
	} {
		t.Run(name, func(t *testing.T) {
			key := redistest.Key(t)
			if err := s.rdb.Copy(t.Context(), s.key, key, 0, true).Err(); err != nil {
				t.Fatal(err)
			}
			var in inbox[string]
			name := rand.Text()
			rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), ClientName: name})
			defer rdb.Close()
			r := start(
				t,
				flow.To(
					source.Tail(
						rdb,
						source.TailConfig[string]{Key: key, Start: test.from, Block: 20 * time.Millisecond},
					),
					in.sink(),
				),
			)
			reading(t, s.rdb, name)
			s.rdb.XAdd(t.Context(), redistest.Entry(key, "data", "d"))
			redistest.Soon(t, "all read", func() bool { return in.count() >= len(test.want) })
			drain(t, r)
			if diff := cmp.Diff(test.want, in.values()); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			if n := len(s.rdb.XInfoGroups(t.Context(), key).Val()); n != 0 {
				t.Errorf("it left %d groups behind", n)
			}
		})
	}
}

// reading waits until a connection of the name reads.
func reading(t *testing.T, rdb *redis.Client, name string) {
	t.Helper()
	redistest.Soon(t, "somebody reads", func() bool {
		for line := range strings.Lines(rdb.ClientList(context.Background()).Val()) {
			if strings.Contains(line, "name="+name+" ") && strings.Contains(line, "cmd=xread ") {
				return true
			}
		}
		return false
	})
}

// The position is kept over reconnects, so nothing is missed and nothing is read twice.
func TestTailSurvivesRestartOfRedis(t *testing.T) {
	s := newPrivateStand(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
	var in inbox[string]
	lost := make(chan struct{}, 100)
	cfg := source.TailConfig[string]{Key: s.key, Start: redisio.StartBeginning(), Block: 20 * time.Millisecond}
	cfg.OnEvent = func(e redisio.Event) { lost <- struct{}{} }
	r := start(t, flow.To(source.Tail(s.rdb, cfg), in.sink()))
	want := s.fill(t, 100)
	redistest.Soon(t, "half", func() bool { return in.count() == 100 })
	s.Kill(t)
	<-lost
	s.Restart(t)
	want = append(want, s.fill(t, 100)...)
	redistest.Soon(t, "all", func() bool { return in.count() >= 200 })
	drain(t, r)
	if diff := cmp.Diff(want, in.values()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestTailDropsWhatItCannotDecode(t *testing.T) {
	s := newStand(t)
	ctx := t.Context()
	s.rdb.XAdd(ctx, redistest.Entry(s.key, "note", "no data"))
	s.fill(t, 2)
	var in inbox[string]
	cfg := source.TailConfig[string]{Key: s.key, Start: redisio.StartBeginning(), Block: 20 * time.Millisecond}
	r := start(t, flow.To(source.Tail(s.rdb, cfg), in.sink()))
	redistest.Soon(t, "the others", func() bool { return in.count() == 2 })
	drain(t, r)

	// With flow.Stop the graph ends with the error instead.
	err := stopped(t, flow.To(source.Tail(s.rdb, cfg, flow.OnFault(flow.Stop)), in.sink()))
	var decode *redisio.DecodeError
	if !errors.As(err, &decode) || decode.Field != "data" {
		t.Errorf("got %v", err)
	}
}

func TestTailConfigMistakes(t *testing.T) {
	bad := source.TailConfig[string]{Block: time.Minute, MaxCount: -1, Wait: -1,
		Codec: redisio.String(), Format: redisio.Native(redisio.String())}
	err := flow.New("bad", flow.To(source.Tail(nil, bad, flow.MaxBytes(-1)), (&inbox[string]{}).sink())).Validate()
	wantFields(t, err, "tail", "rdb", "Format", "Key", "Block", "MaxCount", "Wait", "MaxBytes")
}

// Tail continues with a stream that was created again, and the graph's log reports it.
func TestTailLogsARecreatedStream(t *testing.T) {
	s := newStand(t)
	put := func(id, v string) {
		t.Helper()
		if err := s.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: s.key, ID: id, Values: []string{"data",
			v}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	put("100-0", "old")
	var in inbox[string]
	var log lockedBuffer
	r := start(
		t,
		flow.To(
			source.Tail(
				s.rdb,
				source.TailConfig[string]{Key: s.key, Start: redisio.StartBeginning(), Block: 20 * time.Millisecond},
			),
			in.sink(),
		),
		flow.Log(slog.New(zerolog.NewSlogHandler(zerolog.New(&log)))),
	)
	redistest.Soon(t, "the old one", func() bool { return in.count() == 1 })
	s.rdb.Del(t.Context(), s.key)
	put("5-0", "new")
	redistest.Soon(t, "the new one", func() bool { return in.count() == 2 })
	drain(t, r)
	if !strings.Contains(log.String(), "stream: stream recreated") {
		t.Errorf("the log says nothing:\n%s", log.String())
	}
}
