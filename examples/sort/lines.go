package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
)

// line is a line without its end. As JSON it is base64, because it may have any bytes.
type line = []byte

func compare(a, b line) int { return bytes.Compare(a, b) }

// maxLine is the length of the longest line.
const maxLine = 256 << 10

var (
	newline     = []byte{'\n'}
	errLongLine = errors.New("the file has a line of more than 256 KiB")
)

// linesIn returns the lines of a file that begin in a part of it. A line is valid until the next one.
func linesIn(file string, off, n int64) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		f, err := os.Open(file)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		at := max(off-1, 0) // a line begins at off if the byte before it ends one
		r := bufio.NewReaderSize(io.NewSectionReader(f, at, math.MaxInt64-at), maxLine+1)
		for at < off+n {
			l, err := r.ReadSlice('\n')
			begins := at >= off
			at += int64(len(l))
			switch {
			case err == bufio.ErrBufferFull:
				yield(nil, errLongLine)
				return
			case err != nil && err != io.EOF:
				yield(nil, err)
				return
			case len(l) == 0: // the end of the file
				return
			case begins && !yield(bytes.TrimSuffix(l, newline), nil):
				return
			}
		}
	}
}

// writeLine writes a line with its end. An error remains in w.
func writeLine(w *bufio.Writer, l line) {
	_, _ = w.Write(l)
	_ = w.WriteByte('\n')
}

// create writes a file under a name of its own, and renames it when all of it is on the disk. So a
// process that is killed, and a machine that loses power, leave no half of a file. Two processes may
// write the same one.
func create(path string, write func(*bufio.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "unfinished-*")
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	if err := errors.Join(write(w), w.Flush(), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// digest is what a sequence of lines has. The sum does not depend on their order.
type digest struct {
	Lines  int64  `json:"lines"`
	Bytes  int64  `json:"bytes"`
	Sum    uint64 `json:"sum,string"`
	First  line   `json:"first"`
	Last   line   `json:"last"`
	Sorted bool   `json:"sorted"`
}

// digestOf reads a file.
func digestOf(file string) (d digest, err error) {
	for l, err := range linesIn(file, 0, math.MaxInt64) {
		if err != nil {
			return d, err
		}
		d.add(l)
	}
	return d, nil
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

// generate writes lines of random letters until the file has n bytes, or until ctx ends.
func generate(ctx context.Context, path string, n int64) (d digest, err error) {
	letters := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	var random [62]byte // 100 letters
	var text []byte
	err = create(path, func(w *bufio.Writer) error {
		for d.Bytes < n && ctx.Err() == nil {
			_, _ = rand.Read(random[:]) // it never fails
			text = letters.AppendEncode(text[:0], random[int(random[0])%25:])
			l := text[:max(1, min(int64(len(text)), n-d.Bytes-1))]
			d.add(l)
			writeLine(w, l)
		}
		return nil
	})
	return d, err
}
