package source_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// replay runs a range to its end.
func replay(t *testing.T, rdb redis.UniversalClient, cfg source.RangeConfig[string]) []string {
	t.Helper()
	var in inbox[string]
	if err := flow.New("replay", flow.To(source.Range(rdb, cfg), in.sink())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return in.values()
}

func TestRangePieces(t *testing.T) {
	s := newStand(t)
	at := time.UnixMilli(1_700_000_000_000)
	for i, id := range []string{"1700000000000-0", "1700000000000-5", "1700000001000-0", "1700000002000-0"} {
		args := &redis.XAddArgs{Stream: s.key, ID: id, Values: []string{"data", string(rune('a' + i))}}
		if err := s.rdb.XAdd(t.Context(), args).Err(); err != nil {
			t.Fatal(err)
		}
	}
	id := func(ms, seq uint64) redisio.ID { return redisio.ID{Ms: ms, Seq: seq} }
	for name, test := range map[string]struct {
		cfg  source.RangeConfig[string]
		want []string
	}{
		"all":        {source.RangeConfig[string]{}, []string{"a", "b", "c", "d"}},
		"by id":      {source.RangeConfig[string]{From: id(1700000000000, 5), To: id(1700000001000, 0)}, []string{"b", "c"}},
		"by time":    {source.RangeConfig[string]{Since: at, Until: at}, []string{"a", "b"}},
		"since":      {source.RangeConfig[string]{Since: at.Add(time.Second)}, []string{"c", "d"}},
		"page by 1":  {source.RangeConfig[string]{MaxCount: 1}, []string{"a", "b", "c", "d"}},
		"one credit": {source.RangeConfig[string]{MaxInFlight: 1}, []string{"a", "b", "c", "d"}},
		"nothing":    {source.RangeConfig[string]{Since: at.Add(time.Hour)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			test.cfg.Key = s.key
			if diff := cmp.Diff(test.want, replay(t, s.rdb, test.cfg)); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
	if got := replay(t, s.rdb, source.RangeConfig[string]{Key: s.key + ":none"}); got != nil {
		t.Errorf("a stream that does not exist has %v", got)
	}
}

// A broken connection does not restart the range.
func TestRangeGoesOnWhereItWas(t *testing.T) {
	s := newPrivateStand(t, redistest.Args("--appendonly", "yes", "--appendfsync", "always"))
	want := s.fill(t, 500)
	half := make(chan struct{})
	gate := make(chan struct{})
	seen := 0
	var in inbox[string]
	src := handle(source.Range(s.rdb, source.RangeConfig[string]{Key: s.key, MaxCount: 10, MaxInFlight: 20}),
		func(context.Context, flow.Message[string]) error {
			if seen++; seen == 250 {
				close(half)
				<-gate
			}
			return nil
		})
	r := start(t, flow.To(src, in.sink()))
	<-half
	s.Kill(t)
	close(gate)
	s.Restart(t)
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, in.values()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestRangeErrors(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	ctx := t.Context()
	s.rdb.Set(ctx, s.key+":text", "x", 0)
	err := stopped(
		t,
		flow.To(source.Range(s.rdb, source.RangeConfig[string]{Key: s.key + ":text"}), (&inbox[string]{}).sink()),
	)
	if err.Restarts != 0 || !redis.HasErrorPrefix(err, "WRONGTYPE") {
		t.Errorf("wrong type: %v", err)
	}

	s.rdb.XAdd(ctx, redistest.Entry(s.key, "note", "no data"))
	var in inbox[string]
	src := source.Range(s.rdb, source.RangeConfig[string]{Key: s.key})
	var decode *redisio.DecodeError
	if err := stopped(t, flow.To(src, in.sink())); !errors.As(err, &decode) || err.ID != decode.ID {
		t.Errorf("undecodable: %v", err)
	}
	s.fill(t, 2)
	src = source.Range(s.rdb, source.RangeConfig[string]{Key: s.key}, flow.OnFault(flow.Drop))
	if err := flow.New("drop", flow.To(src, in.sink())).Run(ctx); err != nil || in.count() != 2 {
		t.Errorf("%d values, error %v", in.count(), err)
	}

	down := redis.NewClient(&redis.Options{Addr: nobody, MaxRetries: -1})
	defer down.Close()
	if err := stopped(t, flow.To(source.Range(down, source.RangeConfig[string]{Key: "k"}),
		in.sink())); err.Restarts != 0 {
		t.Errorf("redis down: %v", err)
	}
}

func TestRangeConfigMistakes(t *testing.T) {
	now := time.Now()
	bad := source.RangeConfig[string]{
		From:     redisio.ID{Ms: 1},
		To:       redisio.ID{Ms: 2},
		Since:    now,
		Until:    now,
		MaxCount: -1,
		Wait:     -1,
		Codec:    redisio.String(),
		Format:   redisio.Native(redisio.String()),
	}
	err := flow.New("bad", flow.To(source.Range(nil, bad), (&inbox[string]{}).sink())).Validate()
	wantFields(t, err, "range", "rdb", "Format", "Since", "Until", "Wait", "Key", "MaxCount")
	swapped := source.RangeConfig[string]{Key: "k", Since: now, Until: now.Add(-time.Hour)}
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	err = flow.New("bad", flow.To(source.Range(rdb, swapped), (&inbox[string]{}).sink())).Validate()
	wantFields(t, err, "range", "To")
}
