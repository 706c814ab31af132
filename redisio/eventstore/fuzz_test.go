package eventstore

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Events with any names and bytes are read as they were written, or refused.
func FuzzAppend(f *testing.F) {
	rdb := redistest.Shared(f).Client(f)
	s, err := New(rdb, Config[[]byte]{Name: redistest.Key(f), Partitions: 3, MaxEvent: 10_000})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"ann", "", "{", "}{", "{a}b", "{}", "\x00\xff", "*", "log", "a b\r\n", "0-1"} {
		f.Add(seed, []byte(seed), seed)
	}
	f.Fuzz(func(t *testing.T, aggregate string, data []byte, id string) {
		ctx := context.Background()
		before, n, err := s.Last(ctx, aggregate)
		if err != nil && aggregate != "" {
			t.Fatal(err)
		}
		b := Batch[[]byte]{ID: id, Parts: []Part[[]byte]{{aggregate, before, [][]byte{data, nil}}}}
		r, err := s.AppendAll(ctx, b)
		if err != nil {
			if !errors.Is(err, redisio.ErrNotWritten) {
				t.Fatal(err)
			}
			return
		}
		if r.Repeated { // by an earlier input
			return
		}
		i := 0
		for e, err := range s.Events(ctx, aggregate, n) {
			if err != nil || e.Aggregate != aggregate || i == 0 && !bytes.Equal(e.Value, data) ||
				id != "" && e.AppendID() != id {
				t.Fatalf("event %+v, %v", e, err)
			}
			i++
		}
		if i != 2 {
			t.Fatalf("%d events, want 2", i)
		}
	})
}
