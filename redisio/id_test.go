package redisio_test

import (
	"math"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

func TestID(t *testing.T) {
	for s, want := range map[string]redisio.ID{
		"0": {}, "5": {Ms: 5}, "9999999999999999999-0": {Ms: 9999999999999999999}, "0000000000000000000005-7": {Ms: 5, Seq: 7}, "5-7": {Ms: 5, Seq: 7}, "18446744073709551615-18446744073709551615": {Ms: math.MaxUint64, Seq: math.MaxUint64},
	} {
		if id, err := redisio.ParseID(s); err != nil || id != want {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
	for _, s := range []string{"", "-", "5-", "-5", "a", "5-a", "5-5-5", "18446744073709551616",
		"5-18446744073709551616", "99999999999999999999", "184467440737095516150", "+5", " 5", "$", "(5"} {
		if id, err := redisio.ParseID(s); err == nil {
			t.Errorf("%q: %v", s, id)
		}
	}
	if n := (redisio.ID{Ms: 5, Seq: math.MaxUint64}).Next(); n != (redisio.ID{Ms: 6}) ||
		n.Prev() != (redisio.ID{Ms: 5, Seq: math.MaxUint64}) {
		t.Error(n)
	}
	if (redisio.ID{Ms: 5, Seq: 9}).Compare(redisio.ID{Ms: 6, Seq: 1}) != -1 ||
		(redisio.ID{Ms: 6, Seq: 1}).Compare(redisio.ID{Ms: 5, Seq: 9}) != 1 ||
		(redisio.ID{Ms: 5, Seq: 9}).Compare(redisio.ID{Ms: 5, Seq: 9}) != 0 {
		t.Error("order")
	}
	if got := redisio.StartTime(time.UnixMilli(1000)).String(); got != "999-18446744073709551615" {
		t.Error(got)
	}
	if redisio.StartBeginning().String() != "0" || (redisio.Start{}).String() != "0" ||
		redisio.StartEnd().String() != "$" {
		t.Error("starts")
	}
}

func FuzzID(f *testing.F) {
	f.Add("1732360000000-0", uint64(5), uint64(7))
	f.Add("0-18446744073709551616", uint64(math.MaxUint64), uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, s string, ms, seq uint64) {
		if id, err := redisio.ParseID(s); err == nil {
			if again, err := redisio.ParseID(id.String()); err != nil || again != id {
				t.Fatalf("%q: %v, %v", s, again, err)
			}
		}
		id := redisio.ID{Ms: ms, Seq: seq}
		if got, err := redisio.ParseID(id.String()); err != nil || got != id {
			t.Fatalf("%v: %v, %v", id, got, err)
		}
		if n := id.Next(); n != id && (n.Compare(id) != 1 || n.Prev() != id) {
			t.Fatalf("%v: next %v", id, n)
		}
	})
}
