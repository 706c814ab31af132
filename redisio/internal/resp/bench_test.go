package resp

import (
	"fmt"
	"testing"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

func BenchmarkParse(b *testing.B) {
	var entries []redisio.Entry
	for i := range 1000 {
		entries = append(
			entries,
			redisio.Entry{
				ID:     fmt.Sprintf("1732360000000-%d", i),
				Fields: redisio.Fields{{Name: "data", Value: make([]byte, 100)}},
			},
		)
	}
	raw := rig.Encode(entries, false)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		var batch redisio.Batch
		if err := ParseStreams(raw, 1, &batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	var entries []redisio.Entry
	for i := range 1000 {
		e := redisio.Entry{ID: fmt.Sprintf("1732360000000-%d", i)}
		e.Fields = redisio.Fields{{Name: "data", Value: make([]byte, 100)}}
		entries = append(entries, e)
	}
	raw := rig.Encode(entries, false)
	b.ReportAllocs()
	for b.Loop() {
		f := Frame{Left: 1}
		if done, err := f.Scan(raw); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}
