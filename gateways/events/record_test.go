package events

import (
	"fmt"
	"testing"

	"github.com/streamerson/streamerson-go/redisio"
)

// Loops with several types share a record. The values that one loop gets do not depend on the
// others.
func TestLoopsOfSeveralTypes(t *testing.T) {
	r, _, err := newRecord(&redisio.Entry{ID: "1-1", Fields: redisio.Fields{{Name: "data", Value: []byte(`{"A":1}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	type named struct{ A int }
	var first Event[named]
	var second Event[any]
	if err := eventOf(&first, r, redisio.DefaultCodec[named]()); err != nil || first.Value.A != 1 {
		t.Errorf("a struct: %+v, %v", first.Value, err)
	}
	if err := eventOf(&second, r, redisio.DefaultCodec[any]()); err != nil || fmt.Sprint(second.Value) != "map[A:1]" {
		t.Errorf("any: %+v, %v", second.Value, err)
	}
}
