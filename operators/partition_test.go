package operators_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
)

// outputs returns the output that each key was sent to.
func outputs[K comparable](t *testing.T, n int, keys ...K) []int {
	t.Helper()
	in, boxes := numbers(len(keys)), make([]*box[int], n) // not of K: another type of message takes long to compile
	var parts []flow.Part
	for i, out := range operators.Partition(in.source(), n, func(i int) K { return keys[i] }) {
		boxes[i] = &box[int]{}
		parts = append(parts, flow.To(out, boxes[i].sink()))
	}
	run(t, parts...)
	in.allSettledAs(t, flow.Acked)
	at := make([]int, len(keys))
	for i := range keys {
		at[i] = slices.IndexFunc(boxes, func(b *box[int]) bool { return slices.Contains(b.values(), i) })
	}
	return at
}

type (
	customer string
	account  struct {
		Bank   customer
		number uint16
		_      int
	}
	uuid [16]byte
)

func TestPartitionHash(t *testing.T) {
	const n = 5
	of := func(b []byte) int { return int(xxhash.Sum64(b) % n) }
	le := func(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
	check := func(t *testing.T, want, got []int) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("outputs (-want +got):\n%s", diff)
		}
	}
	t.Run("as documented", func(t *testing.T) {
		check(t, []int{of([]byte("a")), of([]byte("bc")), of(nil)}, outputs(t, n, "a", "bc", ""))
		check(t, []int{of([]byte("a")), of([]byte("bc"))}, outputs(t, n, customer("a"), "bc"))
		check(t, []int{of(le(1)), of(le(1 << 40)), of(le(^uint64(0)))}, outputs(t, n, 1, 1<<40, -1))
		check(t, []int{of(le(^uint64(1)))}, outputs(t, n, int8(-2)))
		check(t, []int{of(le(200))}, outputs(t, n, uint8(200)))
		check(t, []int{of(le(0x3ff8 << 48))}, outputs(t, n, 1.5))
		check(t, []int{of([]byte{1}), of([]byte{0})}, outputs(t, n, true, false))
		check(t, []int{of([]byte("0123456789abcdef"))}, outputs(t, n, uuid([]byte("0123456789abcdef"))))
		check(t, []int{of(slices.Concat(le(2), []byte("ab"), le(7)))}, outputs(t, n, account{Bank: "ab", number: 7}))
		check(t, []int{of(slices.Concat(le(1), []byte("x"), le(0)))}, outputs(t, n, [2]string{"x", ""}))
	})
	t.Run("fixed for ever", func(t *testing.T) { // changing these breaks the keyed state of existing users
		check(t, []int{0xd24ec4f1a98c6e5b % n}, outputs(t, n, "a")) // from the xxHash project's own vectors
		check(t, []int{4, 2, 3, 4, 3}, outputs(t, n, "alice", "bob", "carol", "dave", "erin"))
		check(t, []int{4, 0, 0, 0, 0, 1, 2}, outputs(t, n, 1, 2, 3, 4, 5, 6, 7))
	})
	t.Run("equal keys", func(t *testing.T) {
		zero := 0.0
		if at := outputs(t, 64, zero, -zero); at[0] != at[1] {
			t.Errorf("the two zeros went to %v", at)
		}
		if at := outputs(t, 64, fmt.Stringer(time.Second), fmt.Stringer(time.Second)); at[0] != at[1] {
			t.Errorf("equal interface keys went to %v", at)
		}
		p := new(int)
		if at := outputs(t, 64, p, p); at[0] != at[1] {
			t.Errorf("equal pointers went to %v", at)
		}
	})
	t.Run("even", func(t *testing.T) {
		have := make([]int, 4)
		for _, at := range outputs(t, 4, sequence(1000)...) {
			have[at]++
		}
		for i, n := range have {
			if n < 200 || n > 300 {
				t.Errorf("output %d got %d of 1000 keys", i, n)
			}
		}
	})
}

func TestPartition(t *testing.T) {
	virtual(t, "a key's panic", func(t *testing.T) {
		in, b := numbers(4), &box[int]{}
		outs := operators.Partition(in.source(), 1, func(v int) string {
			if v == 2 {
				panic("two")
			}
			return "k"
		}, flow.OnFault(flow.DeadLetter))
		run(t, flow.To(outs[0], b.sink()))
		b.want(t, 0, 1, 3)
		in.outcomes(t, map[int]flow.Outcome{2: flow.Dead})
	})
	virtual(t, "a key that cannot be compared", func(t *testing.T) {
		in, keys := numbers(3), []any{1, []int{2}, "three"}
		outs := operators.Partition(in.source(), 1, func(v int) any { return keys[v] }, flow.OnFault(flow.DeadLetter))
		run(t, flow.To(outs[0], discard[int]()))
		in.outcomes(t, map[int]flow.Outcome{1: flow.Dead})
	})
}

func TestByKey(t *testing.T) {
	virtual(t, "order by key, shards at the same time", func(t *testing.T) {
		in, out := numbers(90), &box[int]{}
		var mu sync.Mutex
		busy, most := 0, 0
		began := time.Now()
		run(t, flow.To(operators.ByKey(in.source(), 4, func(v int) int { return v % 9 },
			func(shard flow.Source[int]) flow.Source[int] {
				return operators.Map(shard, func(ctx context.Context, v int) (int, error) {
					mu.Lock()
					busy++
					most = max(most, busy)
					mu.Unlock()
					defer func() { mu.Lock(); busy--; mu.Unlock() }()
					return v, wait(ctx, 100*time.Millisecond)
				})
			}), out.sink()))
		in.allSettledAs(t, flow.Acked)
		if most < 3 || time.Since(began) > 5*time.Second {
			t.Errorf("%d shards at work at once, all in %v", most, time.Since(began))
		}
		for key := range 9 {
			one := slices.DeleteFunc(out.values(), func(v int) bool { return v%9 != key })
			if !slices.IsSorted(one) || len(one) != 10 {
				t.Errorf("key %d came as %v", key, one)
			}
		}
	})
	virtual(t, "state per shard, flushed by the drain", func(t *testing.T) {
		in, out := numbers(50), &box[[]int]{}
		in.stays = true
		r := start(t, flow.To(operators.ByKey(
			in.source(),
			3,
			byThree,
			func(shard flow.Source[int]) flow.Source[[]int] { return operators.Batch(shard, 100, time.Hour) },
		), out.sink()))
		time.Sleep(time.Second)
		if n := in.count(); n > 0 {
			t.Errorf("%d entries settled before their batches were full", n)
		}
		if _, err := r.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		in.allSettledAs(t, flow.Acked)
		for _, b := range out.values() {
			for _, key := range b {
				all := slices.DeleteFunc(sequence(50), func(v int) bool { return v%3 != key%3 })
				for _, v := range all {
					if !slices.Contains(b, v) {
						t.Fatalf("%d and %d have the same key and are not in the same batch", v, key)
					}
				}
			}
		}
	})
	virtual(t, "stop", func(t *testing.T) {
		in := numbers(50)
		in.stays = true
		r := start(t, flow.To(operators.ByKey(in.source(), 3, byThree,
			func(shard flow.Source[int]) flow.Source[[]int] { return operators.Batch(shard, 100, time.Hour) }),
			discard[[]int]()))
		time.Sleep(time.Second)
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		in.allSettledAs(t, flow.Nacked)
	})
	virtual(t, "twice in a graph", func(t *testing.T) {
		in := numbers(10)
		same := func(shard flow.Source[int]) flow.Source[int] { return shard }
		key := func(v int) int { return v }
		run(t, flow.To(operators.ByKey(operators.ByKey(in.source(), 2, key, same), 3, key, same), discard[int]()))
		in.allSettledAs(t, flow.Acked)
	})
}
