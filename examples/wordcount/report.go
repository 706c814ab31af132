package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/source"
)

// report prints the results of a run.
type report struct {
	o      options
	s      streams
	rdb    redis.UniversalClient
	source flow.SourceSnapshot // of the lines, as read by this process
	again  int64               // lines delivered to this process that had been delivered before
}

// result is the content of the counts stream.
type result struct {
	words map[string]int
	again map[string]int // of these, how many come from lines delivered again
}

// read reads the whole counts stream, with a plain loop over a source.
func (r report) read(ctx context.Context) (result, error) {
	res := result{make(map[string]int), make(map[string]int)}
	for t, err := range flow.Values(ctx, source.Range(r.rdb, source.RangeConfig[tally]{Key: r.s.counts})) {
		if err != nil {
			return res, fmt.Errorf("read %s: %w", r.s.counts, err)
		}
		for w, n := range t.Words {
			res.words[w] += n
		}
		for w, n := range t.Again {
			res.again[w] += n
		}
	}
	return res, nil
}

// print prints the report. It returns an error if the result is wrong.
func (r report) print(ctx context.Context, lines iter.Seq2[string, error]) error {
	ctx = context.WithoutCancel(ctx)
	unread, pending, err := r.s.left(ctx, r.rdb)
	if err != nil {
		return err
	}
	settled := func() {
		fmt.Printf("settled   %d lines by this process: %d acked, %d dead; delivered again: %d\n",
			r.source.Acked+r.source.Dropped+r.source.Dead, r.source.Acked+r.source.Dropped, r.source.Dead, r.again)
		fmt.Printf("XPENDING  %d\n", pending)
	}
	if unread+pending > 0 {
		settled()
		fmt.Printf("left      %d lines unread, %d pending: %s\n", unread, pending, r.howToGoOn())
		return nil
	}
	res, err := r.read(ctx)
	if err != nil {
		return err
	}
	want, err := plain(lines)
	if err != nil {
		return err
	}
	top(os.Stdout, res.words, r.o.top)
	fmt.Printf("words     %d (%d different)\n", sum(res.words), len(res.words))
	settled()
	if r.o.named || r.o.keep {
		fmt.Printf("kept      %s, %s\n", r.s.lines, r.s.counts)
	}
	verdict, err := compare(res, want)
	fmt.Printf("result    %s\n", verdict)
	return err
}

func (r report) howToGoOn() string {
	if r.o.named || r.o.keep {
		return fmt.Sprintf("wordcount -name %s -join finishes them", r.s.name)
	}
	return "they go with this run, since it has no -name"
}

// compare compares the result with that of the plain loop. A line that is delivered again may have
// been counted before, wholly, in part, or not at all. So its words may make the result larger, but
// nothing may make it smaller.
func compare(got result, want map[string]int) (string, error) {
	var wrong []string
	more := 0
	words := maps.Clone(got.words)
	maps.Copy(words, want)
	for _, w := range slices.Sorted(maps.Keys(words)) {
		over := got.words[w] - want[w]
		if over < 0 || over > got.again[w] {
			wrong = append(wrong, fmt.Sprintf("%q %d instead of %d", w, got.words[w], want[w]))
		}
		more += over
	}
	switch {
	case len(wrong) > 0:
		return "WRONG", fmt.Errorf("%d words differ from a plain loop over the same text: %s",
			len(wrong), strings.Join(wrong[:min(5, len(wrong))], ", "))
	case more > 0:
		return fmt.Sprintf(
			"at least that of a plain loop over the same text (>=): "+
				"%d words of lines delivered again were counted twice",
			more,
		), nil
	}
	return "equals a plain loop over the same text", nil
}

// top prints the most frequent words.
func top(out io.Writer, counts map[string]int, n int) {
	words := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, w := range words[:min(n, len(words))] {
		fmt.Fprintf(table, "%d\t\t%s\n", counts[w], w)
	}
	table.Flush()
	if n > 0 && len(words) > 0 {
		fmt.Fprintln(out)
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
