package ws

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, c := range []struct {
		name, frame string
		want        string // in the text of the fault; "" means no fault
	}{
		{"hello", `{"kind":"hello","rooms":["a","b"],"cursor":"0","resume":"x"}`, ""},
		{"spaces", " {\t\"kind\" :\n \"join\" , \"room\":\"a\" }\r\n", ""},
		{"escapes", `{"kind":"j\u006fin","room":"a\"b"}`, ""},
		{"no JSON", `{"kind":`, "not JSON"},
		{"nothing", ``, "not JSON"},
		{"a list", `["kind"]`, "not a JSON object"},
		{"a word", `null`, "not a JSON object"},
		{"two values", `{"kind":"ping"} {"kind":"ping"}`, "not JSON"},
		{"kind twice", `{"kind":"ping","kind":"send"}`, "duplicate"},
		{"kind twice, escaped", `{"kind":"ping","k\u0069nd":"send"}`, "duplicate"},
		{"twice deep inside", `{"kind":"send","type":"a","data":[{"b":{"c":1,"c":2}}]}`, "duplicate"},
		{"the same at different depths", `{"kind":"send","type":"a","data":{"a":{"a":1},"b":[{"a":1},{"a":2}]}}`, ""},
		{"deep", `{"kind":"send","type":"a","data":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "deeper"},
		{"deep objects", strings.Repeat(`{"data":`, 100) + "1" + strings.Repeat("}", 100), "deeper"},
		{"very deep", strings.Repeat("[", 30_000), "deeper"},
		{"just not too deep", `{"kind":"send","type":"a","data":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `}`, ""},
		{"unknown kind", `{"kind":"sudo"}`, "kind"},
		{"no kind", `{"id":"1"}`, "kind"},
		{"kind in capitals", `{"KIND":"ping"}`, "unknown member \"KIND\""},
		{"kind that is no string", `{"kind":7}`, "not a string"},
		{"kind that is null", `{"kind":null}`, "not a string"},
		{"a claim", `{"kind":"send","type":"a","from":"root"}`, "unknown member \"from\""},
		{"an id that is too long", `{"kind":"ping","id":"` + long + `"}`, "longer than"},
		{"a room that is too long", `{"kind":"join","room":"` + long + `"}`, "longer than"},
		{"a room with a newline", `{"kind":"join","room":"a\nb"}`, "control"},
		{"no room", `{"kind":"join"}`, "empty"},
		{"rooms that are no list", `{"kind":"hello","rooms":"a"}`, "list of strings"},
		{"rooms that are numbers", `{"kind":"hello","rooms":[1]}`, "list of strings"},
		{"no type", `{"kind":"send"}`, "empty"},
		{"call without an id", `{"kind":"call","type":"a"}`, "empty"},
		{"timeout", `{"kind":"call","id":"1","type":"a","timeout":1.5}`, "milliseconds"},
		{"timeout that is negative", `{"kind":"call","id":"1","type":"a","timeout":-1}`, "milliseconds"},
		{"stream", `{"kind":"call","id":"1","type":"a","stream":1}`, "true nor false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, wrong := parse([]byte(c.frame))
			switch {
			case wrong == nil && c.want != "":
				t.Errorf("no fault, want %q", c.want)
			case wrong != nil && (c.want == "" || !strings.Contains(wrong.message, c.want)):
				t.Errorf("fault %q, want %q", wrong.message, c.want)
			}
		})
	}
}

// A fault has the id of its frame, wherever the id is in the frame.
func TestParseID(t *testing.T) {
	_, wrong := parse([]byte(`{"id":"7","kind":"sudo"}`))
	if wrong == nil || wrong.id != "7" {
		t.Errorf("%+v", wrong)
	}
}

// Parsing an object with many names takes time in proportion to its size.
func TestManyNames(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"kind":"send","type":"a","data":{`)
	for i := range 5000 {
		fmt.Fprintf(&b, `"%d":0,`, i)
	}
	if _, wrong := parse([]byte(b.String() + `"x":0}}`)); wrong != nil {
		t.Error(wrong)
	}
	if _, wrong := parse([]byte(b.String() + `"4321":0}}`)); wrong == nil {
		t.Error("a name that is there twice was not found")
	}
}

// The header of a frame follows RFC 6455 for all three sizes.
func TestSeal(t *testing.T) {
	for _, c := range []struct {
		n    int
		want []byte
	}{
		{0, []byte{0x81, 0}}, {125, []byte{0x81, 125}}, {126, []byte{0x81, 126, 0, 126}}, {65535, []byte{0x81, 126, 255, 255}},
		{65536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		b := seal(make([]byte, c.n))
		if diff := cmp.Diff(c.want, b[:len(b)-c.n]); diff != "" || len(b) != c.n+len(c.want) {
			t.Errorf("%d bytes (-want +got):\n%s", c.n, diff)
		}
	}
}

// FuzzParse checks that parse returns a request or a fault for any input, and that the request
// equals what encoding/json reads.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"hello","rooms":["a"]}`, `{"kind":"send","id":"1","room":"a","type":"t","data":{"a":[1,2,{"b":"\u0061"}]}}`,
		`{"kind":"call","id":"1","type":"a","timeout":5,"stream":true}`, `{"a":1,"a":2}`, `[[[[`, `{"k\u0069nd":"ping"}`, "{\"\xff\":1}", `{"kind":"ping","id":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, wrong := parse(b)
		if wrong != nil {
			if wrong.code == "" || wrong.message == "" || len(wrong.id) > maxID {
				t.Errorf("%q: a fault of nothing: %+v", b, wrong)
			}
			return
		}
		var same struct {
			Kind, ID, Room, Type string
			Data                 json.RawMessage
		}
		if err := json.Unmarshal(b, &same); err != nil {
			t.Fatalf("%q was taken: %v", b, err)
		}
		if diff := cmp.Diff([]string{same.Kind, same.ID, same.Room, same.Type, string(same.Data)},
			[]string{q.kind, q.id, q.room, q.typ, string(q.data)}); diff != "" {
			t.Errorf("%q (-encoding/json +parse):\n%s", b, diff)
		}
		if r := (&reply{Kind: "reply", ID: q.id, Data: q.data}).frame(); len(r) == 0 {
			t.Error("no frame")
		}
	})
}
