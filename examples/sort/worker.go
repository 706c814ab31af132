package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/scatter"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/writer"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// work is the worker. All of its graphs run from the start; each waits for its phase.
func work(ctx context.Context, o options, log *slog.Logger) error {
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.child {
		go func() { // the coordinator has ended, however it did
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	j := &job{options: o, rdb: rdb, log: log}
	g, ctx := errgroup.WithContext(ctx)
	run := func(graph *flow.Graph, then func() error) {
		g.Go(func() error {
			if err := graph.Run(ctx); err != nil || ctx.Err() != nil || then == nil {
				return err
			}
			return then() // its stream has ended
		})
	}
	quiet := warnings()
	run(flow.New("sample", scatter.Work(rdb, j.samples(), sample, flow.Workers(2)), quiet), nil)
	run(partition(j, quiet), func() error { return j.endBlocks(ctx) })
	for r := range o.ranges {
		run(sorting(j, r, quiet), func() error { return j.arrive(ctx, r) })
	}
	run(flow.New("merge", scatter.Work(rdb, j.merges(), j.merge), quiet), nil)
	return g.Wait()
}

// sample returns some lines of a chunk.
func sample(_ context.Context, c chunk) (lines []line, err error) {
	const places, each = 4, 25
	for i := range int64(places) {
		off := c.Off + i*c.Len/places
		for l, err := range linesIn(c.File, off, c.Len/places) {
			if err != nil {
				return nil, flow.Reject(err)
			}
			if lines = append(lines, bytes.Clone(l[:min(len(l), 100)])); len(lines) >= (int(i)+1)*each {
				break
			}
		}
	}
	return lines, nil
}

// block is lines of one chunk and one range.
type block struct {
	Range, Chunk, Part int
	Lines              []byte // each with its end
}

// blockBytes is the size of a block.
const blockBytes = 512 << 10

// blocksWaiting is how many blocks the stream of a range has at most.
const blocksWaiting = 16

// partition is the graph that reads chunks and appends their lines to the streams of the ranges. It
// ends when all chunks are done, by whichever workers.
func partition(j *job, opts ...flow.Part) *flow.Graph {
	chunks := source.Stream(j.rdb, source.StreamConfig[chunk]{
		Key: j.chunks(), Group: "partition", Producers: 1, MaxInFlight: 2, Tuning: j.tuning(),
	}, flow.Name("chunks"))
	blocks := operators.FlatMap(chunks, split, flow.Name("blocks"))
	out := sink.Stream(j.rdb, sink.StreamConfig[block]{
		KeyFor: func(m flow.Message[block]) string { return j.blocks(m.Value.Range) },
		Codec:  blockCodec{},
		Tuning: writer.Tuning{HardCap: blocksWaiting, MaxPayload: blockBytes + maxLine + 1<<10},
	}, flow.Name("ranges"), flow.ChunkSize(4))
	return flow.New("partition", append(opts, flow.To(blocks, out))...)
}

// split emits the lines of a chunk as blocks. The same chunk always gives the same blocks.
func split(_ context.Context, c chunk, emit func(block)) error {
	open := make([]block, len(c.Borders)+1)
	for r := range open {
		open[r] = block{Range: r, Chunk: c.N}
	}
	for l, err := range linesIn(c.File, c.Off, c.Len) {
		if err != nil {
			return flow.Reject(err)
		}
		r, equal := slices.BinarySearchFunc(c.Borders, l, compare)
		if equal {
			r++
		}
		b := &open[r]
		b.Lines = append(append(b.Lines, l...), '\n')
		if len(b.Lines) >= blockBytes {
			emit(*b)
			b.Part, b.Lines = b.Part+1, nil
		}
	}
	for _, b := range open {
		if len(b.Lines) > 0 {
			emit(b)
		}
	}
	return nil
}

// endBlocks marks the ends of the streams of the ranges. All workers do it.
func (j *job) endBlocks(ctx context.Context) error {
	for r := range j.ranges {
		end, err := gather.NewEnd(j.rdb, gather.EndConfig{Key: j.blocks(r)})
		if err != nil {
			return err
		}
		if _, err := end.Mark(ctx, "partition"); err != nil {
			return err
		}
	}
	return nil
}

// sorting is the graph that sorts the blocks of a range. Each becomes a file.
func sorting(j *job, r int, opts flow.Part) *flow.Graph {
	blocks := source.Stream(j.rdb, source.StreamConfig[block]{
		Key: j.blocks(r), Group: "sort", Codec: blockCodec{}, Producers: 1, MaxInFlight: 4, Tuning: j.tuning(),
	}, flow.Name("blocks"))
	write := func(_ context.Context, b block) error {
		lines := bytes.Split(bytes.TrimSuffix(b.Lines, newline), newline)
		slices.SortFunc(lines, compare)
		path := filepath.Join(j.runs(r), fmt.Sprintf("%d-%d.run", b.Chunk, b.Part))
		return create(path, func(w *bufio.Writer) error {
			for _, l := range lines {
				writeLine(w, l)
			}
			return nil
		})
	}
	return flow.New(fmt.Sprintf("sort %d", r), flow.To(blocks, sink.Func(write, flow.Name("write"))), opts)
}

// arrive reports that a range is sorted. It counts once, whichever workers report it.
func (j *job) arrive(ctx context.Context, r int) error {
	sorted, err := j.done()
	if err != nil {
		return err
	}
	_, err = sorted.Arrive(ctx, fmt.Sprint("range ", r))
	return err
}

// blockCodec encodes a block as three numbers and its lines.
type blockCodec struct{}

func (blockCodec) ContentType() string { return "" }

func (blockCodec) Append(dst []byte, b block) ([]byte, error) {
	for _, n := range [...]int{b.Range, b.Chunk, b.Part} {
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	return append(dst, b.Lines...), nil
}

func (blockCodec) Decode(src []byte) (b block, err error) {
	if len(src) < 12 || src[len(src)-1] != '\n' {
		return b, errors.New("not a block of lines")
	}
	for i, n := range [...]*int{&b.Range, &b.Chunk, &b.Part} {
		*n = int(binary.BigEndian.Uint32(src[4*i:]))
	}
	b.Lines = src[12:]
	return b, nil
}
