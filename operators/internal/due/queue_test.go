package due

import (
	"slices"
	"testing"
)

type item struct {
	at    int
	place Place
}

func (i *item) Before(other *item) bool { return i.at < other.at }
func (i *item) Place() *Place           { return &i.place }

func TestQueue(t *testing.T) {
	var q Queue[*item]
	all := make([]*item, 6)
	for i, at := range []int{5, 3, 9, 1, 7, 4} {
		all[i] = &item{at: at}
		q.Add(all[i])
	}
	all[2].at = 0 // was 9
	q.Fix(all[2])
	q.Remove(all[0]) // 5
	if all[0].place.Queued() || !all[1].place.Queued() || len(q.All()) != 5 {
		t.Errorf("after Remove: %v, %v, %d items", all[0].place, all[1].place, len(q.All()))
	}
	if q.First() != all[2] {
		t.Errorf("the first is %d, want 0", q.First().at)
	}
	var got []int
	for q.Len() > 0 {
		got = append(got, q.Take().at)
	}
	if want := []int{0, 1, 3, 4, 7}; !slices.Equal(got, want) {
		t.Errorf("taken: %v, want %v", got, want)
	}
	if all[4].place.Queued() {
		t.Error("a taken item says that it is queued")
	}
}
