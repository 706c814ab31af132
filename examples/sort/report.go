package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
)

// clock measures the phases of a sort, and shows the current one.
type clock struct {
	log    *slog.Logger
	phases []phase
}

type phase struct {
	name string
	took time.Duration
}

func newClock(log *slog.Logger) *clock { return &clock{log: log} }

const showEvery = 200 * time.Millisecond

// phase begins a phase; call the result at its end. On a terminal it shows how much is left.
func (c *clock) phase(ctx context.Context, name string, left func(context.Context) int64) (end func()) {
	began, over := time.Now(), make(chan struct{})
	c.log.Info(name)
	var wait sync.WaitGroup
	if left != nil && cli.IsTerminal(os.Stderr) {
		wait.Go(func() {
			tick := time.NewTicker(showEvery)
			defer tick.Stop()
			for {
				select {
				case <-over:
					fmt.Fprint(os.Stderr, "\r\x1b[K")
					return
				case <-tick.C:
					fmt.Fprintf(
						os.Stderr,
						"\r\x1b[K%s: %s, %d left",
						name,
						time.Since(began).Round(showEvery),
						left(ctx),
					)
				}
			}
		})
	}
	return func() {
		close(over)
		wait.Wait()
		c.phases = append(c.phases, phase{name, time.Since(began)})
	}
}

// print prints where the time went. The rate does not include the phase that generates the input.
func (c *clock) print(bytes int64) {
	var total time.Duration
	for _, p := range c.phases {
		fmt.Printf("%-20s %8.2fs\n", p.name, p.took.Seconds())
		if p.name != "generate" {
			total += p.took
		}
	}
	fmt.Printf("%-20s %8.2fs, %.1f MB/s\n", "sorted", total.Seconds(), float64(bytes)/1e6/max(total.Seconds(), 1e-9))
}

// input is the file to sort.
type input struct {
	size   int64
	digest digest // with -check
}

// input opens the input, or generates it.
func (j *job) input(ctx context.Context) (in input, err error) {
	if j.in == "" {
		j.in = filepath.Join(j.dir, "input")
		end := j.clock.phase(ctx, "generate", nil)
		in.digest, err = generate(ctx, j.in, int64(j.size), uint64(time.Now().UnixNano()))
		end()
		in.size = in.digest.Bytes
		return in, err
	}
	if j.in, err = filepath.Abs(j.in); err != nil {
		return in, err
	}
	info, err := os.Stat(j.in)
	if err != nil {
		return in, err
	}
	in.size = info.Size()
	if j.options.check {
		defer j.clock.phase(ctx, "read the checksum", nil)()
		in.digest, err = digestOf(j.in)
	}
	return in, err
}

func digestOf(file string) (d digest, err error) {
	for l, err := range linesIn(file, 0, 1<<62) {
		if err != nil {
			return d, err
		}
		d.add(l)
	}
	return d, nil
}

// check compares the output to the input. The output is read again: the workers' digests are not
// trusted.
func (j *job) check(in input, got digest) error {
	fmt.Printf("%-20s %d lines, %s\n", "output", got.Lines, size(got.Bytes))
	if !j.options.check {
		return nil
	}
	path := j.out
	if path == "" {
		path = filepath.Join(j.dir, "output")
	}
	read, err := digestOf(path)
	if err != nil {
		return err
	}
	switch {
	case read.Lines > 0 && !read.Sorted:
		return errors.New("check: WRONG: the output is not in order")
	case read.Lines != in.digest.Lines || read.Sum != in.digest.Sum || read.Lines != got.Lines || read.Sum != got.Sum:
		return fmt.Errorf("check: WRONG: the output has %d lines with checksum %x, the input %d with %x",
			read.Lines, read.Sum, in.digest.Lines, in.digest.Sum)
	}
	fmt.Printf("%-20s the output is in order, and has the lines of the input (checksum %x)\n", "check", read.Sum)
	return nil
}
