package reader

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Any reader may take entries that a closed reader released, and its consumer is deleted. Entries
// nacked with a delay stay until they are due.
func TestCloseLetsGo(t *testing.T) {
	rdb := redistest.Shared(t).Client(t)
	for name, later := range map[string]bool{"all": false, "but what was nacked": true} {
		t.Run(name, func(t *testing.T) {
			key := redistest.Key(t)
			want := rig.Add(t, rdb, key, 3)
			r, _ := open(t, rdb, GroupConfig{Key: key})
			rig.Read(t, r, 3)
			back := want
			if later {
				if err := r.Nack(rig.Ctx(t), want[:1], time.Minute); err != nil {
					t.Fatal(err)
				}
				back = want[1:]
			}
			if err := r.Close(rig.Ctx(t)); err != nil {
				t.Fatal(err)
			}
			for id, p := range rig.Pending(t, rdb, key) {
				given := slices.Contains(back, id)
				if free := p.Consumer == redisio.ReleasedConsumer; free != given || given && p.Idle < 29*time.Second {
					t.Errorf("%s: %+v", id, p)
				}
			}
			gone := !slices.ContainsFunc(
				rdb.XInfoConsumers(rig.Ctx(t), key, "g").Val(),
				func(is redis.XInfoConsumer) bool {
					return is.Name == r.Consumer()
				},
			)
			if gone == later {
				t.Errorf("the consumer is gone: %v", gone)
			}
			other, _ := open(t, rdb, GroupConfig{Key: key})
			if got := rig.IDs(rig.Read(t, other, len(back))); !slices.Equal(got, back) {
				t.Errorf("another got %v, want %v", got, back)
			}
		})
	}
}
