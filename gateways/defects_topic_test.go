package gateways_test

import (
	"context"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/redisio/streamersonv1"
)

// Tests named after defects of streamerson for Node that topics could share; see
// defects_list_test.go of package source.

// Readers, writers and acks of a shard used different keys. Here all use the same key, in each of
// the three spellings.
func TestD17_ShardsAreOneKey(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	for _, spelling := range []streamersonv1.ShardSpelling{streamersonv1.ShardInTopic, streamersonv1.ShardTwice,
		streamersonv1.ShardAtEnd} {
		wire := gateways.StreamersonV1{Topic: "t", Shard: "eu", Spelling: spelling}
		s.ServeV1(t, wire, func(svc *gateways.Service) { gateways.Handle(svc, "hello", rig.Greet) })
		got, err := gateways.Call[rig.Hello, rig.Greeting](
			s.Client(t, gateways.ClientConfig{Wire: wire}),
			"hello",
		)(
			t.Context(),
			rig.Hello{Name: "Ada"},
		)
		if err != nil || got.Text != "hello Ada" {
			t.Errorf("%+v, %v", got, err)
		}
		key := streamersonv1.Topic{Namespace: s.Topic, Topic: "t", Shard: "eu", Spelling: spelling}.Incoming()
		redistest.Soon(t, "it is acknowledged by the same key", func() bool {
			groups := s.RDB.XInfoGroups(t.Context(), key).Val()
			return len(groups) == 1 && groups[0].Pending == 0 && groups[0].EntriesRead == 1
		})
	}
	if keys := s.RDB.Keys(t.Context(), s.Topic+"::*").Val(); len(keys) != 6 {
		t.Errorf("two keys for each spelling are %q", keys)
	}
}

// A subtopic of a topic created from a string lost its namespace, so two applications shared the
// same subtopic.
func TestD24_SubtopicsKeepTheirNamespace(t *testing.T) {
	t.Parallel()
	s := rig.NewStand(t)
	var apps []streamersonv1.Topic
	for _, app := range []string{s.Topic + "-a", s.Topic + "-b"} {
		topic := streamersonv1.Topic{Namespace: app}.Subtopic("eu")
		apps = append(apps, topic)
		wire := gateways.StreamersonV1{Topic: topic.Topic}
		one := &rig.Stand{RDB: s.RDB, Topic: app}
		one.ServeV1(t, wire, func(svc *gateways.Service) {
			gateways.Handle(svc, "who", func(context.Context, string) (string, error) { return app, nil })
		})
		if got, err := gateways.Call[string, string](one.Client(t, gateways.ClientConfig{Wire: wire}),
			"who")(t.Context(), "x"); err != nil ||
			got != app {
			t.Errorf("%q, %v", got, err)
		}
	}
	for _, a := range apps {
		if n := s.RDB.XLen(t.Context(), a.Incoming()).Val(); n != 1 || !strings.HasPrefix(a.Incoming(), a.Namespace) {
			t.Errorf("%s has %d requests", a.Incoming(), n)
		}
	}
}
