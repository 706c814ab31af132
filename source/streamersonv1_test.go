package source_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/streamersonv1"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// A pipeline between two streams of streamerson v1, and a tail of the second one. An invalid entry
// does not stop it.
func TestStreamersonV1(t *testing.T) {
	s := newStand(t)
	topic := streamersonv1.Topic{Namespace: s.key}
	format := streamersonv1.Format(redisio.JSON[order]())
	for _, slots := range [][]string{
		{"m-1", "resp", topic.Outgoing(), "nil", "json", "session", "UnoccupiedField", `{"id":"1"}`},
		{"m-2", "resp", topic.Outgoing(), "nil", "json", "session", "UnoccupiedField", `{"id":`},
		{"m-3", "resp", topic.Outgoing(), `{"a":"b"}`, "json", "", "UnoccupiedField", `{"id":"3"}`, "somebody's", "pair"},
	} {
		if err := s.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: topic.Incoming(), Values: slots}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var got inbox[order]
	in := source.Stream(
		s.rdb,
		source.StreamConfig[order]{
			Key:    topic.Incoming(),
			Group:  "g",
			Format: format,
			Tuning: reader.Tuning{Block: 20 * time.Millisecond},
		},
	)
	out := sink.Stream(s.rdb, sink.StreamConfig[order]{Key: topic.Outgoing(), Format: format})
	tail := source.Tail(
		s.rdb,
		source.TailConfig[order]{
			Key:    topic.Outgoing(),
			Start:  redisio.StartBeginning(),
			Format: format,
			Block:  20 * time.Millisecond,
		},
	)
	r := start(t, flow.To(in, out), flow.To(tail, got.sink()))
	redistest.Soon(t, "what can be decoded", func() bool { return got.count() == 2 })
	redistest.Soon(
		t,
		"the other is a dead letter",
		func() bool { return s.rdb.XLen(t.Context(), topic.Incoming()+":dead").Val() == 1 },
	)
	drain(t, r)
	if diff := cmp.Diff([]order{{ID: "1"}, {ID: "3"}}, got.values()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	entries, err := s.rdb.Do(t.Context(), "xrange", topic.Outgoing(), "-", "+").Slice() // in order
	if err != nil {
		t.Fatal(err)
	}
	var slots [][]any
	for _, e := range entries {
		slots = append(slots, e.([]any)[1].([]any))
	}
	want := [][]any{
		{
			"m-1",
			"resp",
			topic.Outgoing(),
			"nil",
			"json",
			"session",
			"UnoccupiedField",
			`{"id":"1","total":0,"paid":false}`,
		},
		{
			"m-3",
			"resp",
			topic.Outgoing(),
			`{"a":"b"}`,
			"json",
			"",
			"UnoccupiedField",
			`{"id":"3","total":0,"paid":false}`,
		},
	}
	if diff := cmp.Diff(want, slots); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}
