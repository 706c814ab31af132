package main

import (
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// load returns the graph that writes the lines of a text to a stream.
func load(rdb redis.UniversalClient, text io.Reader, to streams, opts ...flow.Part) *flow.Graph {
	lines := source.Lines(text)
	out := sink.Stream(rdb, sink.StreamConfig[string]{Key: to.lines})
	return flow.New("load", append(opts, flow.To(lines, out))...)
}

// count returns the graph that computes the word counts. Each shard sees all occurrences of its
// words.
func count(rdb redis.UniversalClient, s streams, o options, opts ...flow.Part) *flow.Graph {
	entries := source.Stream(rdb, source.StreamConfig[string]{
		Key: s.lines, Group: s.group, MaxInFlight: o.inFlight(),
		Tuning: reader.Tuning{Lease: o.lease, Block: 100 * time.Millisecond},
	}, flow.Name("lines"))
	c := counter{slow: o.slow, fails: chance(o.fail, o.seed)}
	lines := operators.MapMessage(entries, toLine, flow.Name("line"))
	words := operators.FlatMap(lines, c.split, flow.Name("words"))
	shards := operators.Partition(words, o.shards, word.key)
	tallies := make([]flow.Source[tally], len(shards))
	for i, shard := range shards {
		batches := operators.Batch(shard, 1000, 200*time.Millisecond, flow.Name(fmt.Sprintf("batch %d", i)))
		tallies[i] = operators.Map(batches, c.tally(i), flow.Name(fmt.Sprintf("tally %d", i)))
	}
	out := sink.Stream(rdb, sink.StreamConfig[tally]{Key: s.counts}, flow.Name("counts"))
	return flow.New("count", append(opts, flow.To(operators.FanIn(tallies...), out), flow.Faults(inPlace))...)
}

// inPlace retries in place without a limit. The default policy returns the message to the stream
// after some tries. A returned batch brings back all its lines, although other shards have already
// counted words of them.
func inPlace(*flow.Fault) flow.Decision {
	return flow.Decision{Do: flow.ActRetry, After: time.Millisecond}
}
