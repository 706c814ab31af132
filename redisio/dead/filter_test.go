package dead

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Dead letters are chosen by IDs to their last digit.
func TestFault_D14_DeadFilterTakesIDs(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	for i := range 10 {
		if err := rdb.XAdd(rig.Ctx(t),
			&redis.XAddArgs{Stream: key, ID: fmt.Sprintf("5000-%d", i), Values: []string{"n", "x"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		f           Filter
		n           int
		first, last string
	}{
		"from":         {Filter{From: redisio.ID{Ms: 5000, Seq: 5}}, 5, "5000-5", "5000-9"},
		"before":       {Filter{Before: redisio.ID{Ms: 5000, Seq: 5}}, 5, "5000-0", "5000-4"},
		"both":         {Filter{From: redisio.ID{Ms: 5000, Seq: 2}, Before: redisio.ID{Ms: 5000, Seq: 5}}, 3, "5000-2", "5000-4"},
		"before all":   {Filter{Before: redisio.ID{Ms: 0, Seq: 1}}, 0, "", ""},
		"with a time":  {Filter{From: redisio.ID{Ms: 5000, Seq: 5}, Since: time.UnixMilli(4000)}, 5, "5000-5", "5000-9"},
		"until 1970":   {Filter{Until: time.UnixMilli(-1)}, 0, "", ""},
		"by IDs, from": {Filter{IDs: []string{"5000-1", "5000-7"}, From: redisio.ID{Ms: 5000, Seq: 5}}, 1, "5000-7", "5000-7"},
	} {
		got := letters(t, rdb, key, c.f)
		if len(got) != c.n || c.n > 0 && (got[0].ID != c.first || got[c.n-1].ID != c.last) {
			t.Errorf("%s: %d letters", name, len(got))
		}
	}
	if err := (Filter{From: redisio.ID{Ms: 5, Seq: 5}, Before: redisio.ID{Ms: 5, Seq: 5}}).Validate(); err == nil {
		t.Error("a filter that takes nothing is fine")
	}
	if n, err := Drop(rig.Ctx(t), rdb, key, Filter{From: redisio.ID{Ms: 5000, Seq: 5}}, DropOptions{}); n != 5 ||
		err != nil {
		t.Errorf("%d dropped, %v", n, err)
	}
}
