package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
)

// digest is what a sequence of lines has. The sum does not depend on their order.
type digest struct {
	Lines  int64  `json:"lines"`
	Bytes  int64  `json:"bytes"`
	Sum    uint64 `json:"sum,string"`
	First  line   `json:"first"`
	Last   line   `json:"last"`
	Sorted bool   `json:"sorted"`
}

// add adds the next line.
func (d *digest) add(l line) {
	if d.Lines == 0 {
		d.First, d.Sorted = bytes.Clone(l), true
	} else if compare(d.Last, l) > 0 {
		d.Sorted = false
	}
	d.Last = append(d.Last[:0], l...)
	d.Lines++
	d.Bytes += int64(len(l)) + 1
	d.Sum += xxhash.Sum64(l)
}

// join adds the digest of the lines that follow.
func (d *digest) join(next digest) {
	switch {
	case next.Lines == 0:
		return
	case d.Lines > 0:
		d.Sorted = d.Sorted && next.Sorted && compare(d.Last, next.First) <= 0
	default:
		d.First, d.Sorted = next.First, next.Sorted
	}
	d.Last = next.Last
	d.Lines += next.Lines
	d.Bytes += next.Bytes
	d.Sum += next.Sum
}

func compare(a, b line) int { return bytes.Compare(a, b) }

// maxLine is the length of the longest line.
const maxLine = 256 << 10

var errLongLine = errors.New("the file has a line of more than 256 KiB")

// linesIn returns the lines of a file that begin in a part of it. A line is valid until the next one.
func linesIn(file string, off, n int64) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		f, err := os.Open(file)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		start := max(off-1, 0) // a line begins at off if the byte before it ends one
		if _, err := f.Seek(start, io.SeekStart); err != nil {
			yield(nil, err)
			return
		}
		r := bufio.NewReaderSize(f, maxLine+1)
		at := start
		if off > 0 {
			skipped, err := r.ReadSlice('\n')
			if at += int64(len(skipped)); err != nil {
				if err != io.EOF {
					yield(nil, longLine(err))
				}
				return
			}
		}
		for at < off+n {
			l, err := r.ReadSlice('\n')
			at += int64(len(l))
			if err == io.EOF && len(l) == 0 {
				return
			}
			if err != nil && err != io.EOF {
				yield(nil, longLine(err))
				return
			}
			if !yield(bytes.TrimSuffix(l, newline), nil) || err == io.EOF {
				return
			}
		}
	}
}

var newline = []byte{'\n'}

func longLine(err error) error {
	if errors.Is(err, bufio.ErrBufferFull) {
		return errLongLine
	}
	return err
}

// create writes a file under a name of its own, and renames it when it is complete. So a process that
// is killed leaves no half of a file, and two processes may write the same one.
func create(path string, write func(*bufio.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "unfinished-*")
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	if err := errors.Join(write(w), w.Flush(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// generate writes lines of random letters until the file has n bytes, or until ctx ends.
func generate(ctx context.Context, path string, n int64, seed uint64) (d digest, err error) {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	random := rand.New(rand.NewPCG(seed, seed))
	err = create(path, func(w *bufio.Writer) error {
		buf := make([]byte, 0, 128)
		for d.Bytes < n && (d.Lines%10_000 != 0 || ctx.Err() == nil) {
			length := 60 + random.IntN(40)
			for buf = buf[:0]; len(buf) < length; {
				for bits, i := random.Uint64(), 0; i < 12; i++ {
					buf = append(buf, letters[bits&31])
					bits >>= 5
				}
			}
			l := buf[:max(1, min(int64(length), n-d.Bytes-1))]
			d.add(l)
			if _, err := w.Write(l); err != nil {
				return err
			}
			if err := w.WriteByte('\n'); err != nil {
				return err
			}
		}
		return nil
	})
	return d, err
}
