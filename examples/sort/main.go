// Sort sorts a file of lines by several processes, with less memory than the file has bytes. It
// shows scatter and gather, streams with an end, a barrier, backpressure, and workers that may be
// killed at any time.
//
//	go run ./examples/sort                          # generates 64 MB, and starts 3 workers
//	go run ./examples/sort -size 1GB -check         # compares the result to the input
//	go run ./examples/sort -in big.txt -out sorted.txt
//
// The file is cut into chunks. Workers take samples of them (scatter), from which the coordinator
// computes the borders of ranges (gather). Workers read the chunks again, and append the lines as
// blocks to a stream for each range. Other graphs of the workers sort the blocks and write each to a
// file of its own. The streams hold a few blocks only, so a slow disk slows down the readers of
// chunks. When all chunks are done, the streams end, and when all blocks are sorted, a barrier is
// reached. Then workers merge the files of each range, and the coordinator puts the ranges one after
// the other.
//
// Kill a worker (kill -9) at any time: others repeat what it had not finished. A worker writes a file
// under a name of its own and renames it when it is complete, so a repeated block gives the same file.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
)

func main() {
	o := parse()
	cli.Main("sort", func(ctx context.Context, log *slog.Logger) error {
		if o.role == roleWorker {
			return work(ctx, o, log)
		}
		return coordinate(ctx, o)
	})
}

// coordinate sorts the file, by workers that it starts.
func coordinate(ctx context.Context, o options) (err error) {
	screen := cli.NewScreen(os.Stderr)
	log := screen.Log()
	rdb, done, err := cli.Redis(ctx, log)
	if err != nil {
		return err
	}
	defer done()
	ctx, _, end := cli.Inspect(ctx, "sort", rdb, log)
	defer end()
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "sort-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	j := &job{options: o, rdb: rdb, log: log, screen: screen}
	defer j.deleteKeys()
	fmt.Println(partition(j).Mermaid())
	input, err := j.input(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	crew, err := j.start(ctx)
	if err != nil {
		return err
	}
	defer crew.end()
	began := time.Now()
	result, err := j.sort(crew.ctx, input.size)
	if err != nil {
		return crew.cause(err)
	}
	return j.report(input, result, time.Since(began))
}
