package lru

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMap(t *testing.T) {
	var m Map[string, int]
	for range m.All() {
		t.Error("an empty map has a key")
	}
	if m.Use("a") != nil {
		t.Error("an empty map has a value")
	}
	m.Delete("a")
	for i, k := range []string{"a", "b", "c", "d"} {
		m.Add(k, i)
	}
	*m.Use("a") = 10
	m.Use("a")
	m.Delete("c")
	m.Add("e", 4)
	if k, v := m.Oldest(); k != "b" || *v != 1 {
		t.Errorf("the oldest is %s with %d, want b with 1", k, *v)
	}
	var got []string
	for k, v := range m.All() {
		if got = append(got, k); *v == 10 {
			m.Delete(k)
		}
		if k == "a" {
			break
		}
	}
	if diff := cmp.Diff([]string{"b", "d", "a"}, got); diff != "" || m.Len() != 3 {
		t.Errorf("keys (-want +got):\n%s%d are left, want 3", diff, m.Len())
	}
}
