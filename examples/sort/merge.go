package main

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// mergeMost is how many files are merged at once. It bounds memory and open files.
const mergeMost = 64

// merge merges the files of a range to one, and returns what it has. If there are many, it merges
// groups of them to larger files first.
func (j *job) merge(ctx context.Context, r int) (d digest, err error) {
	runs, err := filepath.Glob(filepath.Join(j.runs(r), "*.run"))
	if err != nil {
		return d, err
	}
	own, err := os.MkdirTemp(j.dir, "merging-*")
	if err != nil {
		return d, err
	}
	defer os.RemoveAll(own)
	for len(runs) > mergeMost {
		var larger []string
		for group := range slices.Chunk(runs, mergeMost) {
			path := filepath.Join(own, fmt.Sprintf("%d-%d", len(runs), len(larger)))
			if _, err := mergeTo(ctx, path, group); err != nil {
				return d, err
			}
			larger = append(larger, path)
		}
		runs = larger
	}
	return mergeTo(ctx, j.sorted(r), runs)
}

// run is a sorted file that is being merged.
type run struct {
	line line // the next one
	pull func() (line, error, bool)
}

// advance reads the next line. It returns false after the last one.
func (r *run) advance() (more bool, err error) {
	r.line, err, more = r.pull()
	return more && err == nil, err
}

// place moves the first run to where its line belongs. The others are in order.
func place(runs []*run) {
	first, others := runs[0], runs[1:]
	at, _ := slices.BinarySearchFunc(others, first.line, func(r *run, l line) int { return compare(r.line, l) })
	copy(runs, others[:at])
	runs[at] = first
}

// mergeTo merges sorted files to one.
func mergeTo(ctx context.Context, path string, files []string) (d digest, err error) {
	d.Sorted = true
	var runs []*run // in the order of their lines
	for _, name := range files {
		pull, stop := iter.Pull2(linesIn(name, 0, math.MaxInt64))
		defer stop()
		r := &run{pull: pull}
		more, err := r.advance()
		if err != nil {
			return d, err
		}
		if more {
			runs = slices.Insert(runs, 0, r)
			place(runs)
		}
	}
	err = create(path, func(w *bufio.Writer) error {
		for len(runs) > 0 && ctx.Err() == nil {
			first := runs[0]
			d.add(first.line)
			writeLine(w, first.line)
			more, err := first.advance()
			switch {
			case err != nil:
				return err
			case more:
				place(runs)
			default:
				runs = runs[1:]
			}
		}
		return context.Cause(ctx)
	})
	return d, err
}
