package flow

import (
	"math"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// An entry is stored in a record, with details only if it needs them, and its Meta is the same.
func TestRecordKeepsMeta(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		meta    Meta
		details bool
	}{
		"none":       {meta: Meta{}},
		"usual":      {meta: Meta{ID: "17-0", Time: time.UnixMilli(17), Attempt: 3}},
		"precise":    {meta: Meta{ID: "a", Time: now}, details: true},
		"elsewhere":  {meta: Meta{Time: time.UnixMilli(17).UTC()}, details: true},
		"epoch":      {meta: Meta{Time: time.UnixMilli(0)}, details: true},
		"attempts":   {meta: Meta{ID: "a", Attempt: math.MaxInt}, details: true},
		"message id": {meta: Meta{ID: "a", MessageID: "b", Attempt: 2}, details: true},
		"key":        {meta: Meta{Key: "k"}, details: true},
		"type":       {meta: Meta{Type: "t"}, details: true},
		"reply":      {meta: Meta{ReplyTo: "r", Deadline: now}, details: true},
		"deadline":   {meta: Meta{Deadline: now}, details: true},
		"headers":    {meta: Meta{Headers: Headers{{"a", "b"}}}, details: true},
		"no headers": {meta: Meta{Headers: Headers{}}, details: true},
		"duplicate":  {meta: Meta{ID: "a", MaybeDuplicate: true}, details: true},
		"members":    {meta: Meta{ID: "a", Members: []*Meta{{ID: "a"}, {Key: "b"}}}, details: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMessage(0, test.meta)
			if d := cmp.Diff(test.meta, m.Meta(), cmp.Comparer(func(a, b time.Time) bool { return a == b })); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if details := m.meta.more != nil; details != test.details {
				t.Errorf("details: %v", details)
			}
			w := test.meta
			if m.ID() != w.ID || m.Key() != w.Key || m.Type() != w.Type || m.Time() != w.Time ||
				m.Attempt() != w.Attempt || len(m.Headers()) != len(w.Headers) {
				t.Errorf("a method differs from the field of %+v", test.meta)
			}
			for i, want := range test.meta.Members {
				if d := cmp.Diff(*want, Member(m, i, 0).Meta()); d != "" {
					t.Errorf("member %d (-want +got):\n%s", i, d)
				}
			}
		})
	}
	var none Message[int]
	if d := cmp.Diff(Meta{}, none.Meta()); d != "" || none.ID() != "" || none.Key() != "" || none.Attempt() != 0 {
		t.Errorf("a message without metadata has some: %s", d)
	}
}

// Members of a join are made when asked for. Each has its own metadata, at any depth.
func TestRecordOfJoins(t *testing.T) {
	var all []Held[int]
	for i := range 4 {
		m := NewMessage(i, Meta{ID: strconv.Itoa(i), Key: []string{"", "k"}[i%2]})
		all = append(all, Hold(t.Context(), m))
	}
	first := Join(t.Context(), 0, all[:2])
	second := Join(t.Context(), 0, all[2:])
	both := Join(t.Context(), 0, []Held[int]{Hold(t.Context(), first), Hold(t.Context(), second)})
	if both.meta.more.join.members[1] != second.meta || second.meta.more.Members != nil {
		t.Error("metadata was copied")
	}
	ids := func(m Meta) (ids []string) {
		for _, of := range m.Members {
			ids = append(ids, of.ID+of.Key)
		}
		return ids
	}
	if got := ids(both.Meta()); !slices.Equal(got, []string{"0", "2"}) {
		t.Errorf("members %v", got)
	}
	if got := ids(Member(both, 1, 0).Meta()); !slices.Equal(got, []string{"2", "3k"}) {
		t.Errorf("members of a member: %v", got)
	}
	if got := ids(*both.Meta().Members[0]); !slices.Equal(got, []string{"0", "1k"}) {
		t.Errorf("members of a member's metadata: %v", got)
	}
	if one := Join(t.Context(), 0, all[:1]); one.Meta().Members != nil {
		t.Error("a join of one has members")
	}
}

// The usual entry takes 40 bytes in addition to its message, and adding it allocates nothing.
func TestRecordIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(record{}); size != 40 {
		t.Errorf("a record takes %d bytes", size)
	}
	in := &Intake[int]{room: 1 << 20}
	in.Grow(3000)
	usual := Meta{ID: "17-0", Time: time.UnixMilli(17), Attempt: 1}
	if n := testing.AllocsPerRun(1000, func() { in.Add(1, usual, 100) }); n != 0 {
		t.Errorf("%v allocations to add a message", n)
	}
	keyed := Meta{ID: "17-0", Key: "k"}
	if n := testing.AllocsPerRun(1000, func() { in.Add(1, keyed, 100) }); n > 0.1 {
		t.Errorf("%v allocations to add a message with a key", n)
	}
	m := in.msgs[0]
	if n := testing.AllocsPerRun(100, func() { _, _, _, _ = m.Meta(), m.Key(), m.Time(), m.ID() }); n != 0 {
		t.Errorf("%v allocations to read metadata", n)
	}
}
