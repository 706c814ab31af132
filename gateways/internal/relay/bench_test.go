package relay

import (
	"context"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// crowd is a relay without a server. It has listeners to one topic, and as many to others.
func crowd(t testing.TB, n int) (*Relay[string], []*Listener[string]) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // never asked
	t.Cleanup(func() { rdb.Close() })
	r := New(
		rdb,
		Config[string]{Key: "k", Decode: func(*redisio.Entry) (string, []string, error) { return "", nil, nil }},
	)
	r.opened(redisio.ID{})
	var ls []*Listener[string]
	for i := range 2 * n {
		topic := "busy"
		if i >= n {
			topic = strconv.Itoa(i)
		}
		l, err := r.Listen(t.Context(), Options{Topics: []string{topic}})
		if err != nil {
			t.Fatal(err)
		}
		if i < n {
			ls = append(ls, l)
		}
	}
	return r, ls
}

// step delivers one entry to all listeners, and makes all of them take it.
func step(t testing.TB, r *Relay[string], ls []*Listener[string], list []record[string], n *readResult) {
	list[0].id = list[0].id.Next()
	r.dispatch(n, list)
	for _, l := range ls {
		b, _, err := l.Poll(context.Background())
		if err != nil || len(b.Items) != 1 {
			t.Fatal(b, err)
		}
	}
}

func BenchmarkDeliver(b *testing.B) {
	const n = 1000
	r, ls := crowd(b, n)
	list := []record[string]{{Item: Item[string]{Cursor: "1-1", Value: "v"}, topics: []string{"busy"}}}
	b.ReportAllocs()
	for b.Loop() {
		step(b, r, ls, list, &readResult{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/delivery")
}

// Delivery to a thousand listeners allocates nothing per listener.
func TestDeliverAllocations(t *testing.T) {
	const n = 1000
	r, ls := crowd(t, n)
	list := []record[string]{{Item: Item[string]{Cursor: "1-1", Value: "v"}, topics: []string{"busy"}}}
	for range 10 {
		step(t, r, ls, list, &readResult{})
	}
	if got := testing.AllocsPerRun(20, func() { step(t, r, ls, list, &readResult{}) }); got > 8 {
		t.Errorf("%.0f allocations for %d listeners", got, n)
	}
}
