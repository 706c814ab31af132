package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/streamerson/streamerson-go/flow"
)

// line is a line of the text. again means that it was delivered before, so its words may have been
// counted already.
type line struct {
	text  string
	again bool
}

// word is one word of a line.
type word struct {
	text  string
	again bool
}

func (w word) key() string { return w.text }

// tally is an entry of the counts stream: the number of occurrences of each word in a batch.
type tally struct {
	Shard int            `json:"shard"`
	Words map[string]int `json:"words"`
	Again map[string]int `json:"again,omitempty"` // of these, words of lines delivered again
}

func toLine(_ context.Context, m flow.Message[string]) (line, error) {
	return line{m.Value, m.Attempt() > 1}, nil
}

// counter has the handlers of the graph.
type counter struct {
	slow  time.Duration
	fails func() error
}

// split emits the words of a line. It fails before it emits the first word. Emitted values of a
// failed handler are discarded, but only as long as they fit into a chunk.
func (c counter) split(ctx context.Context, l line, emit func(word)) error {
	if c.slow > 0 {
		if err := flow.Sleep(ctx, c.slow); err != nil {
			return err
		}
	}
	if err := c.fails(); err != nil {
		return err
	}
	for _, w := range split(l.text) {
		emit(word{w, l.again})
	}
	return nil
}

// tally returns the handler of a shard, which computes the counts of a batch of words.
func (c counter) tally(shard int) func(context.Context, []word) (tally, error) {
	return func(_ context.Context, batch []word) (tally, error) {
		if err := c.fails(); err != nil {
			return tally{}, err
		}
		t := tally{Shard: shard, Words: make(map[string]int)}
		for _, w := range batch {
			t.Words[w.text]++
			if w.again {
				if t.Again == nil {
					t.Again = make(map[string]int)
				}
				t.Again[w.text]++
			}
		}
		return t, nil
	}
}

// split returns the words of a text in lower case: letters and digits, with apostrophes inside.
func split(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '\'' && r != '’'
	})
	kept := words[:0]
	for _, w := range words {
		if w = strings.Trim(w, "'’"); w != "" {
			kept = append(kept, w)
		}
	}
	return kept
}

var errChance = errors.New("failed at random, as -fail asks for")

// chance returns a function that fails with probability p.
func chance(p float64, seed uint64) func() error {
	if p == 0 {
		return func() error { return nil }
	}
	var mu sync.Mutex // shards run at the same time
	random := rand.New(rand.NewPCG(seed, 0))
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		if random.Float64() < p {
			return errChance
		}
		return nil
	}
}
