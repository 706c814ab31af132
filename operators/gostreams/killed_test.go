package gostreams

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	streams "github.com/reugn/go-streams"
	goflow "github.com/reugn/go-streams/flow"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

const killedEnv = "STREAMERSON_TEST_KILLED"

// TestKilledProcess is not a test of its own. It is the process that
// TestFault_D16_FuncOutlivesKilledProcesses starts and kills.
func TestKilledProcess(t *testing.T) {
	args := strings.Fields(os.Getenv(killedEnv))
	if len(args) == 0 {
		t.Skip("runs only as a child of TestFault_D16_FuncOutlivesKilledProcesses")
	}
	addr, key := args[0], args[1]
	most, err := strconv.Atoi(args[2])
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	in := source.Stream(
		rdb,
		source.StreamConfig[int]{Key: key, Group: "g", Tuning: reader.Tuning{Lease: 200 * time.Millisecond},
			MaxDeliveries: 100, MaxInFlight: 256},
	)
	through := Func[int, int](func(in streams.Source) streams.Source {
		return in.Via(goflow.NewMap(func(i int) int { return i }, 2)).
			Via(goflow.NewFlatMap(func(i int) []int { return []int{i, i} }, 1))
	})
	out := operators.Unbatch(operators.Map(operators.Batch(in, 64, 10*time.Millisecond), through))
	n := 0
	some := operators.Map(out, func(ctx context.Context, v int) (int, error) {
		if n++; n > most { // it waits to be killed, in the middle of its work
			return v, flow.Sleep(ctx, time.Hour)
		}
		return v, nil
	})
	g := flow.New("killed", flow.To(some, sink.Stream(rdb, sink.StreamConfig[int]{Key: key + ":out"})))
	t.Fatalf("the graph ended by itself: %v", g.Run(context.Background()))
}

// Processes with a go-streams flow are killed during their work, and the next one continues.
// Nothing is lost.
func TestFault_D16_FuncOutlivesKilledProcesses(t *testing.T) {
	srv := redistest.Shared(t)
	rdb, key := srv.Client(t), redistest.Key(t)
	const n, kills = 20_000, 3
	pipe := rdb.Pipeline()
	for i := range n {
		pipe.XAdd(t.Context(), redistest.Entry(key, "data", strconv.Itoa(i)))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	rdb.XGroupCreate(t.Context(), key, "g", "0")
	open := func() (pending, lag int64) {
		g, err := rdb.XInfoGroups(t.Context(), key).Result()
		if err != nil || len(g) != 1 {
			t.Fatalf("groups %v, %v", g, err)
		}
		return g[0].Pending, g[0].Lag
	}
	caught := false // in the middle
	for life := 0; ; life++ {
		before := rdb.XLen(t.Context(), key+":out").Val()
		most := 3000 // so it has work left, however late it is killed
		if life >= kills {
			most = math.MaxInt
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
		cmd.Env = append(os.Environ(), fmt.Sprint(killedEnv, "=", srv.Addr(), " ", key, " ", most))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := false
		redistest.Soon(t, "it has written some, or all", func() bool {
			pending, lag := open()
			done = pending+lag == 0
			return done || life < kills && pending > 0 && rdb.XLen(t.Context(), key+":out").Val() > before+1000
		})
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if done {
			break
		}
		pending, _ := open()
		caught = caught || pending > 0
	}
	if !caught {
		t.Error("no process was killed in the middle of its work")
	}
	written := make([]int, n)
	for from := "-"; ; {
		page := rdb.XRangeN(t.Context(), key+":out", from, "+", 5000).Val()
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			i, err := strconv.Atoi(e.Values["data"].(string))
			if err != nil {
				t.Fatal(err)
			}
			written[i]++
		}
		from = "(" + page[len(page)-1].ID
	}
	for i, times := range written {
		if times < 2 {
			t.Fatalf("%d was written %d times, want twice at least", i, times)
		}
	}
}
