package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// input is the file to sort.
type input struct {
	size   int64
	digest digest // with -check
}

// input opens the input, or generates it.
func (j *job) input(ctx context.Context) (in input, err error) {
	if j.in == "" {
		j.in = filepath.Join(j.dir, "input")
		defer j.phase(ctx, "generate")()
		in.digest, err = generate(ctx, j.in, int64(j.size))
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
	if j.check {
		defer j.phase(ctx, "read the checksum")()
		in.digest, err = digestOf(j.in)
	}
	return in, err
}

// output returns the path of the result.
func (j *job) output() string { return cmp.Or(j.out, filepath.Join(j.dir, "output")) }

// report compares the output to the input. With -check it reads the output again, because the
// workers' digests are not trusted.
func (j *job) report(in input, got digest, took time.Duration) error {
	fmt.Printf("%-20s %8.2fs, %.1f MB/s\n", "sorted", took.Seconds(), float64(in.size)/1e6/took.Seconds())
	fmt.Printf("%-20s %d lines, %s\n", "output", got.Lines, size(got.Bytes))
	if got.Bytes != in.size && got.Bytes != in.size+1 { // the last line may have got an end
		return fmt.Errorf("the output has %d bytes, the input %d: a worker could not read or write a file",
			got.Bytes, in.size)
	}
	if !j.check {
		return nil
	}
	read, err := digestOf(j.output())
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
