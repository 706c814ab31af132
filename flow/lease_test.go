package flow

import (
	"errors"
	"testing"
)

// FuzzLease runs random shares, releases and joins on a slab and compares it with a model. Each
// lease settles once, when its last share is released. Its outcome is the worst of all its shares,
// direct or joined.
func FuzzLease(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{200, 3, 90, 17, 255, 0, 1, 1, 9, 30, 12, 77})
	f.Fuzz(func(t *testing.T, program []byte) {
		const n = 5
		ses := &session{wakeup: make(chan struct{}, 1)}
		s := newSlab(n, ses)
		type share struct {
			lease lease
			roots []int
		}
		var shares []share
		worst := make([]Outcome, n)
		open := make([]int, n)
		for i := range n {
			shares = append(shares, share{lease{slab: s, at: int32(i)}, []int{i}})
			open[i] = 1
		}
		var dirty dirtySessions
		h := settledBatch{wanted: true}
		settledAs := map[uint64]Outcome{}
		check := func() {
			s.collect(&h, false)
			for _, st := range h.settled {
				if was, twice := settledAs[st.Seq]; twice {
					t.Fatalf("entry %d settled twice, as %v and %v", st.Seq, was, st.Outcome)
				}
				settledAs[st.Seq] = st.Outcome
				if open[st.Seq] > 0 {
					t.Fatalf("entry %d settled with %d shares open", st.Seq, open[st.Seq])
				}
				if st.Outcome != worst[st.Seq] {
					t.Fatalf("entry %d settled as %v, want %v", st.Seq, st.Outcome, worst[st.Seq])
				}
				if (st.Outcome != Acked) != (st.Fault != nil) {
					t.Fatalf("entry %d: %v with fault %v", st.Seq, st.Outcome, st.Fault)
				}
			}
			h.reset()
			for i, left := range open {
				if _, ok := settledAs[uint64(i)]; left == 0 && !ok {
					t.Fatalf("entry %d has no share left and is not settled", i)
				}
			}
		}
		release := func(i int, o Outcome) {
			sh := shares[i]
			shares = append(shares[:i:i], shares[i+1:]...)
			for _, r := range sh.roots {
				open[r]--
				worst[r] = max(worst[r], o)
			}
			var f *Fault
			if o != Acked {
				f = &Fault{Err: errors.New(o.String())}
			}
			if o == Acked && len(program)%2 == 0 {
				ackAll(&dirty, []Message[int]{{lease: sh.lease}})
				return
			}
			sh.lease.release(o, f, &dirty)
		}
		for _, b := range program {
			if len(shares) == 0 {
				break
			}
			i := int(b/4) % len(shares)
			switch b % 4 {
			case 0, 1:
				release(i, Outcome(b/8)%5)
			case 2:
				sh := shares[i]
				if !sh.lease.share(1) {
					t.Fatal("an open lease refused a share")
				}
				for _, r := range sh.roots {
					open[r]++
				}
				shares = append(shares, sh)
			case 3: // join the last two
				if len(shares) < 2 {
					continue
				}
				a, z := shares[len(shares)-2], shares[len(shares)-1]
				j := newSlab(1, nil)
				j.members = []lease{a.lease, z.lease}
				shares = append(
					shares[:len(shares)-2],
					share{lease{slab: j}, append(append([]int{}, a.roots...), z.roots...)},
				)
			}
			check()
		}
		for len(shares) > 0 {
			release(0, Acked)
		}
		check()
		if len(settledAs) != n || s.left != 0 {
			t.Fatalf("%d of %d settled, %d left", len(settledAs), n, s.left)
		}
		if ok := (lease{slab: s}).share(1); ok {
			t.Fatal("a settled lease took a share")
		}
	})
}

// ackAll settles each lease once, whichever shares it has, in any order.
func TestAckAll(t *testing.T) {
	ses := &session{wakeup: make(chan struct{}, 1)}
	s := newSlab(200, ses)
	var dirty dirtySessions
	var chunk []Message[int]
	add := func(l lease) { chunk = append(chunk, Message[int]{lease: l}) }
	for i := range 198 {
		add(lease{slab: s, at: int32(i ^ 1)})
	}
	shared, failed, held := lease{slab: s, at: 70}, lease{slab: s, at: 71}, lease{slab: s, at: 72}
	shared.share(1)
	add(shared)
	add(lease{})
	failed.share(1)
	failed.release(Nacked, nil, &dirty)
	held.share(1)
	j := newSlab(1, nil)
	j.members = []lease{{slab: s, at: 198}, {slab: s, at: 199}}
	add(lease{slab: j})
	ackAll(&dirty, chunk)

	h := settledBatch{wanted: true}
	s.collect(&h, false)
	if h.n != 199 || h.by[Acked] != 198 || h.by[Nacked] != 1 || s.left != 1 {
		t.Errorf("settled %d, %v, left %d", h.n, h.by, s.left)
	}
	if (lease{slab: s, at: 3}).share(1) {
		t.Error("a settled lease took a share")
	}
	ackAll(&dirty, []Message[int]{{lease: held}})
	s.collect(&h, false)
	seen := make(map[uint64]int)
	for _, st := range h.settled {
		seen[st.Seq]++
	}
	if len(seen) != 200 || h.n != 200 || s.left != 0 {
		t.Errorf("%d of 200 settled in %d settlements, left %d", len(seen), h.n, s.left)
	}
}
