package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/scatter"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// job is one sort. The coordinator and the workers have one each, with the same keys and folder.
type job struct {
	options
	rdb    redis.UniversalClient
	log    *slog.Logger
	screen *cli.Screen // of the coordinator
}

// chunk is a part of the file: the lines that begin in it.
type chunk struct {
	N       int    `json:"n"`
	File    string `json:"file"`
	Off     int64  `json:"off"`
	Len     int64  `json:"len"`
	Borders []line `json:"borders,omitempty"` // the first lines of all ranges but the first; in the second phase
}

// The two scatters, for both of their ends.
func (j *job) samples() scatter.Config[chunk, []line] {
	return scatter.Config[chunk, []line]{Name: j.name + ":sample", Within: time.Hour, MaxParts: gather.MaxParts,
		MaxResults: 256 << 20, Tuning: j.tuning()}
}

func (j *job) merges() scatter.Config[int, digest] {
	return scatter.Config[int, digest]{Name: j.name + ":merge", Within: 24 * time.Hour, Tuning: j.tuning()}
}

func (j *job) tuning() reader.Tuning {
	return reader.Tuning{Lease: j.lease, Block: 100 * time.Millisecond, DeleteSettled: true}
}

func (j *job) chunks() string      { return j.name + ":chunks" }
func (j *job) blocks(r int) string { return fmt.Sprintf("%s:range:%d", j.name, r) }
func (j *job) runs(r int) string   { return filepath.Join(j.dir, fmt.Sprintf("range-%d", r)) }
func (j *job) sorted(r int) string { return filepath.Join(j.dir, fmt.Sprintf("sorted-%d", r)) }

// streams returns the keys of the streams of the second phase.
func (j *job) streams() []string {
	keys := []string{j.chunks()}
	for r := range j.ranges {
		keys = append(keys, j.blocks(r))
	}
	return keys
}

// partsOf returns the key of the stream that a scatter has its parts in.
func partsOf(name string) string { return redisio.Beside(name, ":parts") }

func (j *job) done() (*gather.Barrier, error) {
	return gather.NewBarrier(j.rdb, gather.BarrierConfig{Name: j.name + ":sorted", Expect: j.ranges})
}

// sort sorts the input to the output. It returns what the output has.
func (j *job) sort(ctx context.Context, bytes int64) (total digest, err error) {
	var ranges []int
	for r := range j.ranges {
		ranges = append(ranges, r)
		if err := os.MkdirAll(j.runs(r), 0o700); err != nil {
			return total, err
		}
	}
	var chunks []chunk
	for off := int64(0); off < bytes; off += int64(j.chunk) {
		chunks = append(chunks, chunk{N: len(chunks), File: j.in, Off: off, Len: min(int64(j.chunk), bytes-off)})
	}
	end := j.phase(ctx, "sample", partsOf(j.samples().Name))
	sampled, err := all(ctx, j.rdb, j.samples(), chunks)
	if end(); err != nil {
		return total, fmt.Errorf("sample: %w", err)
	}
	end = j.phase(ctx, "partition and sort", j.streams()...)
	err = j.partition(ctx, chunks, borders(sampled, j.ranges))
	if end(); err != nil {
		return total, fmt.Errorf("partition: %w", err)
	}
	end = j.phase(ctx, "merge", partsOf(j.merges().Name))
	merged, err := all(ctx, j.rdb, j.merges(), ranges)
	if end(); err != nil {
		return total, fmt.Errorf("merge: %w", err)
	}
	defer j.phase(ctx, "write")()
	return j.write(merged)
}

// all scatters parts, and returns their results.
func all[P, R any](ctx context.Context, rdb redis.UniversalClient, cfg scatter.Config[P, R], parts []P) ([]R, error) {
	self := func(_ context.Context, parts []P) ([]P, error) { return parts, nil }
	gathered := scatter.Out(source.Of(parts), rdb, cfg, self)
	for g, err := range flow.Values(ctx, gathered, warnings(), flow.DrainTimeout(100*time.Millisecond)) {
		return g.Values(), err
	}
	return nil, context.Cause(ctx)
}

// borders returns the first lines of all ranges but the first, so that the ranges have about as many
// of the sampled lines each.
func borders(samples [][]line, ranges int) (list []line) {
	all := slices.Concat(samples...)
	slices.SortFunc(all, compare)
	for r := 1; r < ranges && len(all) > 0; r++ {
		list = append(list, all[r*len(all)/ranges])
	}
	return list
}

// partition gives the chunks to the workers, and waits until all of their lines are sorted.
func (j *job) partition(ctx context.Context, chunks []chunk, borders []line) error {
	for i := range chunks {
		chunks[i].Borders = borders
	}
	out := sink.Stream(j.rdb, sink.StreamConfig[chunk]{Key: j.chunks()})
	if err := flow.New("chunks", flow.To(source.Of(chunks...), out), warnings()).Run(ctx); err != nil {
		return err
	}
	end, err := gather.NewEnd(j.rdb, gather.EndConfig{Key: j.chunks()})
	if err != nil {
		return err
	}
	if _, err := end.Mark(ctx, "coordinator"); err != nil {
		return err
	}
	sorted, err := j.done()
	if err != nil {
		return err
	}
	return sorted.Wait(ctx)
}

// write puts the ranges one after the other.
func (j *job) write(ranges []digest) (total digest, err error) {
	total.Sorted = true
	out, err := os.Create(j.output())
	if err != nil {
		return total, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for r, d := range ranges {
		total.join(d)
		in, err := os.Open(j.sorted(r))
		if err != nil {
			return total, err
		}
		_, err = io.Copy(out, in)
		if err = errors.Join(err, in.Close()); err != nil {
			return total, err
		}
	}
	return total, nil
}

// deleteKeys deletes what would expire later.
func (j *job) deleteKeys() {
	ctx := context.Background()
	for _, key := range j.streams() {
		for _, k := range []string{key, redisio.Beside(key, ":end"), key + ":dead"} {
			_ = j.rdb.Del(ctx, k).Err() // it expires, or is empty
		}
	}
	for _, key := range []string{j.samples().Name, j.merges().Name} {
		_ = j.rdb.Del(ctx, partsOf(key)).Err()
		_ = j.rdb.Del(ctx, redisio.Beside(key, ":notices")).Err()
	}
	if b, err := j.done(); err == nil {
		_ = b.Delete(ctx)
	}
}

// warnings is the log of the graphs.
func warnings() flow.GraphOption {
	return flow.Log(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
}
