package resp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

func TestParseStreams(t *testing.T) {
	want := []redisio.Entry{
		{
			ID:         "1-0",
			Position:   redisio.ID{Ms: 1, Seq: 0},
			Deliveries: 1,
			Fields: redisio.Fields{
				{Name: "b", Value: []byte("1")},
				{Name: "a", Value: []byte("")},
				{Name: "b", Value: []byte("3")},
			},
		},
		{ID: "2-0", Position: redisio.ID{Ms: 2, Seq: 0}, Deliveries: 1, Deleted: true},
		{
			ID:         "3-0",
			Position:   redisio.ID{Ms: 3, Seq: 0},
			Deliveries: 8,
			Fields:     redisio.Fields{{Name: "x", Value: []byte("y")}},
		},
	}
	entries := "*3 *2 $3 1-0 *6 $1 b $1 1 $1 a $0  $1 b $1 3 *2 $3 2-0 *-1 *4 $3 3-0 *2 $1 x $1 y :1500 :7"
	for name, s := range map[string]string{
		"RESP2":          "*1 *2 $1 k " + entries,
		"RESP3":          "%1 $1 k " + strings.ReplaceAll(entries, "*-1", "_"),
		"simple strings": "*1 *2 +k " + entries,
	} {
		var b redisio.Batch
		if err := ParseStreams(rig.CRLF(s), 1, &b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, b.Entries, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, s := range []string{"*-1", "_", "*0", "%0", "$-1"} {
		var b redisio.Batch
		if err := ParseStreams(rig.CRLF(s), 1, &b); err != nil || len(b.Entries) != 0 {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, s := range []string{
		"", "*", "*1", "*1 *2 $1 k", "*1 *1 $1 k", "*1 *2 $1 k *1 *2 $3 1-0 *1 $1 a", "*1 *2 $1 k *1 *2 $1 x *0",
		"*99999999", "*-2", "%99999999", "*1 *2 $1 k *1 *2 $99999 1-0 *0", "*1 *2 $1 k *1 *5 $3 1-0 *0 :1 :1 :1",
		":5", "*0 *0",
		"*1 *2 $1 k *1 *2 $3 1-0 *2 $1 a $-1", "*1 *2 $1 k *1 *2 $-1 *0", "#t",
	} {
		var b redisio.Batch
		var bad *ReplyError
		if err := ParseStreams(rig.CRLF(s), 1, &b); !errors.As(err, &bad) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"-NOGROUP no", "!10 NOGROUP no"} {
		var b redisio.Batch
		raw := bytes.Replace(rig.CRLF(s), []byte("NOGROUP\r\n"), []byte("NOGROUP "), 1)
		if err := ParseStreams(raw, 1, &b); !redis.HasErrorPrefix(err, "NOGROUP") {
			t.Errorf("%q: %v", s, err)
		}
	}
	// A nil entry, as before Redis 7.
	var b redisio.Batch
	if err := ParseEntries(rig.CRLF("*2 *-1 *2 $3 1-0 *0"), 1, &b); err != nil || !b.Entries[0].Deleted ||
		b.Entries[1].ID != "1-0" {
		t.Errorf("%+v, %v", b.Entries, err)
	}
}

// A parsed reply is well-formed: encoded again it parses to the same values. Nothing panics, and no
// length in a reply makes the parser allocate more than a multiple of the reply.
func FuzzParseReply(f *testing.F) {
	f.Add(rig.CRLF("*1 *2 $1 k *2 *2 $3 1-0 *2 $1 a $1 b *2 $3 2-0 *-1"))
	f.Add(rig.CRLF("%1 $1 k *1 *4 $3 1-0 *2 $1 a $1 b :5 :2"))
	f.Add(rig.CRLF("*1 *2 $1 k *1 *2 $3 1-0 *3 $1 a $1 b"))
	f.Add(rig.CRLF("*9 *9 *9 *9 *9 *9 *9 *9 *9 *9 *9 *9"))
	f.Add([]byte("-ERR x\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b, c redisio.Batch
		_ = ParseEntries(raw, 1, &c)
		err := ParseStreams(raw, 1, &b)
		fields := 0
		for i := range b.Entries {
			fields += cap(b.Entries[i].Fields)
		}
		if fields > len(raw) || cap(b.Entries) > len(raw) {
			t.Fatalf("%d bytes made %d entries and %d fields", len(raw), cap(b.Entries), fields)
		}
		if err != nil {
			return
		}
		for i := range b.Entries {
			if b.Entries[i].ID == "" {
				return // a hole has no id to encode
			}
			b.Entries[i].Deliveries = 1
		}
		for _, resp3 := range []bool{false, true} {
			var again redisio.Batch
			if err := ParseStreams(rig.Encode(b.Entries, resp3), 1, &again); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(b.Entries, again.Entries, cmpopts.EquateEmpty()); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func TestParseAllocations(t *testing.T) {
	var entries []redisio.Entry
	for i := range 1000 {
		entries = append(
			entries,
			redisio.Entry{
				ID:     fmt.Sprintf("%d-0", i+1),
				Fields: redisio.Fields{{Name: "data", Value: make([]byte, 100)}, {Name: "type", Value: []byte("t")}},
			},
		)
	}
	raw := rig.Encode(entries, false)
	n := testing.AllocsPerRun(20, func() {
		var b redisio.Batch
		if err := ParseStreams(raw, 1, &b); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3 {
		t.Fatalf("%v allocations for 1000 entries", n)
	}
}
