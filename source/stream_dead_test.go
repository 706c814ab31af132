package source_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// The description of a graph names the stream of each source's dead letters.
func TestDescriptionNamesDeadLetters(t *testing.T) {
	single := redis.NewClient(&redis.Options{Addr: "unused:1"})
	defer single.Close()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"unused:1"}})
	defer cluster.Close()
	for want, c := range map[string]struct {
		rdb redis.UniversalClient
		cfg source.StreamConfig[string]
	}{
		"orders:dead":   {single, source.StreamConfig[string]{Key: "orders"}},
		"{orders}:dead": {cluster, source.StreamConfig[string]{Key: "orders"}},
		"poison":        {single, source.StreamConfig[string]{Key: "orders", DeadKey: "poison"}},
		"":              {single, source.StreamConfig[string]{Key: "orders", AtMostOnce: true}},
	} {
		g := flow.New("g", flow.To(source.Stream(c.rdb, c.cfg), sink.Discard[string]()))
		if got := g.Describe().Stages[0].DeadLettersTo; got != want {
			t.Errorf("dead letters to %q, want %q", got, want)
		}
	}
}
