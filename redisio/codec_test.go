package redisio

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everything has fields of all kinds that encoding/json treats in a way of their own.
type everything struct {
	Name    string `json:"name"`
	Short   string `json:"short,omitempty"`
	Count   int8   `json:"count"`
	Text    int    `json:"text,string"`
	Ratio   float64
	Yes     bool           `json:",omitempty"`
	Data    []byte         `json:"data"`
	Array   [2]uint16      `json:"array"`
	List    []string       `json:"list"`
	Map     map[string]int `json:"map,omitempty"`
	Numbers map[int8]any   `json:"numbers"`
	Any     any            `json:"any"`
	Self    *everything    `json:"self,omitempty"`
	When    time.Time      `json:"when"`

	Raw    json.RawMessage `json:"raw,omitempty"`
	Upper  upper           `json:"upper"`
	Hidden string          `json:"-"`
	*Inner
}

// Inner is embedded.
type Inner struct {
	Name  string
	Extra string
}

// upper has its methods on the pointer.
type upper string

func (u *upper) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(*u))), nil }

func (u *upper) UnmarshalText(b []byte) error {
	*u = upper(strings.ToLower(string(b)))
	return nil
}

// FuzzJSON compares the codec with encoding/json, in both directions.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"name":"a","Name":"b","count":3,"text":"7","Ratio":1e3,"Yes":true,"data":"aGk=","array":[1,2,3],"list":["x",null]}`,
		`{"NAME":"a","COUNT":300}`, `{"map":{"a":1,"a":2},"numbers":{"1":{"b":[null]},"-1":1.5}}`,
		`{"self":{"self":null},"when":"2026-01-02T03:04:05Z","number":12,"raw":[1, 2],"upper":"Q","Extra":"e"}`,
		`{"any":{"x":1,"x":2}}`, "{\"name\":\"\xff<&>\\u2028\\ud800\"}", `null`, ` {} `, `{}x`, `[]`, ``, `{"number":"x"}`, `{"text":7}`,
		`{"array":[1]}`, `{"data":"!"}`, `{"count":null,"list":null}`, `{"raw":null}`, `{"when":1}`, `{"a":[{"number":"x"}]}`, `{"a":[{"number":12}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		alike[everything](t, src)
		alike[any](t, src)
		alike[*Inner](t, src)
		alike[[]upper](t, src)
		alike[map[string]upper](t, src)
		alike[json.RawMessage](t, src)
		alike[map[string]*[]struct{ Number json.Number }](t, src)
	})
}

func alike[T any](t *testing.T, src []byte) {
	var want T
	wantErr := json.Unmarshal(src, &want)
	got, err := JSON[T]().Decode(src)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%T from %q: error %v, of encoding/json %v", want, src, err, wantErr)
	}
	if err != nil {
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%T from %q (-want +got):\n%s", want, src, cmp.Diff(want, got))
	}
	wantText, wantErr := json.Marshal(got)
	text, err := JSON[T]().Append([]byte("before"), got)
	if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(text, append([]byte("before"), wantText...)) {
		t.Fatalf("%T: %q, %v; want %q, %v", got, text, err, wantText, wantErr)
	}
}

// TestJSONKeepsNothing checks that a value does not see what the codec had before, also after errors.
func TestJSONKeepsNothing(t *testing.T) {
	c := JSON[everything]()
	for _, s := range []string{`{"name":"a","list":["x"],"map":{"k":1}}`, `{"name":"b","count":"x"}`, `{"name":`} {
		first, _ := c.Decode([]byte(s))
		if v, err := c.Decode([]byte(`{}`)); err != nil || !reflect.DeepEqual(v, everything{}) {
			t.Errorf("after %s: %+v, %v", s, v, err)
		}
		if strings.HasPrefix(s, `{"name":"a"`) && (first.Name != "a" || first.List[0] != "x" || first.Map["k"] != 1) {
			t.Errorf("the first value has changed: %+v", first)
		}
	}
	if _, err := JSON[any]().Append(nil, make(chan int)); err == nil || !strings.Contains(err.Error(), "chan int") {
		t.Errorf("error %v", err)
	}
	if b, err := JSON[any]().Append(nil, 1); err != nil || string(b) != "1" {
		t.Errorf("after an error: %s, %v", b, err)
	}
}

func TestJSONAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	type order struct {
		ID   int    `json:"id"`
		Note string `json:"note"`
	}
	c := JSON[order]()
	src, buf := []byte(
		`{"id":1,"note":"a note that is too long to be kept as one of the known short texts"}`,
	), make(
		[]byte,
		0,
		256,
	)
	var v order
	if n := testing.AllocsPerRun(200, func() { v, _ = c.Decode(src) }); n > 1 { // the note
		t.Errorf("decoding allocates %v times, want once", n)
	}
	if n := testing.AllocsPerRun(200, func() { buf, _ = c.Append(buf[:0], v) }); n > 0 {
		t.Errorf("encoding allocates %v times, want never", n)
	}
}
