package main

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// mergeMost is how many files are merged at once. It bounds memory and open files.
const mergeMost = 128

// merge merges the files of a range to one, and returns what it has. If there are many, it merges
// groups of them to larger files first.
func (j *job) merge(ctx context.Context, r int) (d digest, err error) {
	runs, err := filepath.Glob(filepath.Join(j.runs(r), "*.run"))
	if err != nil {
		return d, err
	}
	slices.Sort(runs)
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
	f    *os.File
	r    *bufio.Reader
	next line // with its end
}

// advance reads the next line. It returns io.EOF after the last one.
func (r *run) advance() (err error) {
	r.next, err = r.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		var rest []byte
		first := bytes.Clone(r.next) // the line is longer than the buffer
		rest, err = r.r.ReadBytes('\n')
		r.next = append(first, rest...)
	}
	return err
}

// front is a heap of runs by their next lines.
type front []*run

func (h front) Len() int { return len(h) }
func (h front) Less(a, b int) bool {
	x, y := h[a].next, h[b].next
	return compare(x[:len(x)-1], y[:len(y)-1]) < 0
}
func (h front) Swap(a, b int) { h[a], h[b] = h[b], h[a] }
func (h *front) Push(v any)   { *h = append(*h, v.(*run)) }
func (h *front) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// mergeTo merges sorted files to one.
func mergeTo(ctx context.Context, path string, files []string) (d digest, err error) {
	d.Sorted = true
	var h front
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return d, err
		}
		defer f.Close()
		r := &run{f: f, r: bufio.NewReaderSize(f, 16<<10)}
		switch err := r.advance(); {
		case err == nil:
			h = append(h, r)
		case err != io.EOF:
			return d, err
		}
	}
	heap.Init(&h)
	err = create(path, func(w *bufio.Writer) error {
		for len(h) > 0 {
			top := h[0]
			d.add(top.next[:len(top.next)-1])
			if _, err := w.Write(top.next); err != nil {
				return err
			}
			if d.Lines%10_000 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			switch err := top.advance(); err {
			case nil:
				heap.Fix(&h, 0)
			case io.EOF:
				heap.Pop(&h)
			default:
				return err
			}
		}
		return nil
	})
	return d, err
}
