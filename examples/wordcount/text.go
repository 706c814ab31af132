package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/source"
)

// alice is the first three chapters of Alice's Adventures in Wonderland, by Lewis Carroll (1865).
//
//go:embed alice.txt
var alice string

// text is the input. It can be read twice: by the graph, and by the plain loop.
type text struct {
	io.ReadCloser
	again func() (io.ReadCloser, error)
}

// openText opens the text of a file; "-" is standard input, "" the bundled text.
func openText(file string) (text, error) {
	switch file {
	case "":
		open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(alice)), nil }
		r, _ := open()
		return text{r, open}, nil
	case "-":
		copied := new(bytes.Buffer)
		return text{io.NopCloser(io.TeeReader(os.Stdin, copied)),
			func() (io.ReadCloser, error) { return io.NopCloser(copied), nil }}, nil
	}
	open := func() (io.ReadCloser, error) {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		if info, err := f.Stat(); err == nil && info.IsDir() {
			f.Close()
			return nil, fmt.Errorf("%s is a folder: name a text file", file)
		}
		return f, nil
	}
	r, err := open()
	return text{r, open}, err
}

// plain counts words with a plain loop. The graph's result is compared to it.
func plain(lines iter.Seq2[string, error]) (map[string]int, error) {
	counts := make(map[string]int)
	for line, err := range lines {
		if err != nil {
			return nil, err
		}
		for _, w := range split(line) {
			counts[w]++
		}
	}
	return counts, nil
}

// linesOf returns the lines of a text that was read before.
func linesOf(t text) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		r, err := t.again()
		if err != nil {
			yield("", err)
			return
		}
		defer r.Close()
		scan := bufio.NewScanner(r)
		scan.Buffer(nil, source.MaxLine+2) // including the line's end
		for scan.Scan() {
			if !yield(scan.Text(), nil) {
				return
			}
		}
		if err := scan.Err(); err != nil {
			yield("", err)
		}
	}
}

// linesIn returns the lines in the stream. Processes that joined use it, because they do not have
// the text.
func linesIn(ctx context.Context, rdb redis.UniversalClient, s streams) iter.Seq2[string, error] {
	return flow.Values(ctx, source.Range(rdb, source.RangeConfig[string]{Key: s.lines}))
}
