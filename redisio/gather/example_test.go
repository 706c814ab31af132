package gather_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/gather"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

// Two parts are sent, one of them is done twice. Each call may come from another process.
func ExampleStore() {
	ctx := context.Background()
	rdb, done := rig.Server(ctx)
	defer done()
	s, err := gather.New(rdb, gather.Config{Name: "thumbnails"})
	if err != nil {
		fmt.Println(err)
		return
	}
	st, err := s.Open(ctx, "album-7", gather.Terms{Parts: 2, Within: time.Minute})
	fmt.Println("sent:", st.Sent, err)
	sent, err := s.Send(ctx, "album-7", st.Sent, "", []byte("left"), []byte("right"))
	fmt.Println("sent:", sent, err)

	for _, part := range []int{0, 0, 1} { // what workers do
		wanted, _, err := s.Begin(ctx, "album-7", part)
		fmt.Println("part", part, "is wanted:", wanted, err)
		receipt, err := s.Put(ctx, "album-7", part, true, fmt.Append(nil, "thumbnail ", part))
		fmt.Println("duplicate:", receipt == gather.Duplicate, err)
	}
	states, err := s.States(ctx, "album-7", "album-8")
	fmt.Println(states[0] == gather.Over, states[1] == gather.Unknown, err)
	o, _, err := s.Take(ctx, "album-7")
	fmt.Println(o.How, string(o.Parts[0].Data), string(o.Parts[1].Data), err)
	fmt.Println(s.Cancel(ctx, "album-7")) // it is over
	// Output:
	// sent: 0 <nil>
	// sent: 2 <nil>
	// part 0 is wanted: true <nil>
	// duplicate: false <nil>
	// part 0 is wanted: false <nil>
	// duplicate: true <nil>
	// part 1 is wanted: true <nil>
	// duplicate: false <nil>
	// true true <nil>
	// done thumbnail 0 thumbnail 1 <nil>
	// <nil>
}

// Two participants end a phase. A third one is a mistake.
func ExampleBarrier() {
	ctx := context.Background()
	rdb, done := rig.Server(ctx)
	defer done()
	b, err := gather.NewBarrier(rdb, gather.BarrierConfig{Name: "import:42:loaded", Expect: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, who := range []string{"worker-1", "worker-1", "worker-2"} {
		n, err := b.Arrive(ctx, who)
		reached, _ := b.Reached(ctx)
		fmt.Println(who, n, reached, err)
	}
	fmt.Println("waited:", b.Wait(ctx))
	_, err = b.Arrive(ctx, "worker-3")
	fmt.Println("too many:", errors.Is(err, gather.ErrTooMany))
	fmt.Println("deleted:", b.Delete(ctx))
	// Output:
	// worker-1 1 false <nil>
	// worker-1 1 false <nil>
	// worker-2 2 true <nil>
	// waited: <nil>
	// too many: true
	// deleted: <nil>
}

// A producer marks the end of a stream. A group is at the end when it has settled all entries.
func ExampleEnd() {
	ctx := context.Background()
	rdb, done := rig.Server(ctx)
	defer done()
	e, err := gather.NewEnd(rdb, gather.EndConfig{Key: "chunks"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := rdb.XGroupCreateMkStream(ctx, "chunks", "sorters", "0").Err(); err != nil {
		fmt.Println(err)
		return
	}
	marks, err := e.Mark(ctx, "loader")
	fmt.Println("marks:", marks, err)
	at, err := e.Reached(ctx, "sorters")
	fmt.Println("at the end:", at, err)
	fmt.Println("reopened:", e.Reopen(ctx))
	fmt.Println(redisio.Beside("chunks", ":end"), "is deleted")
	// Output:
	// marks: 1 <nil>
	// at the end: true <nil>
	// reopened: <nil>
	// {chunks}:end is deleted
}
