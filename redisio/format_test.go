package redisio

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write golden files")

type order struct {
	ID    string  `json:"id"`
	Total float64 `json:"total"`
}

func full() Envelope {
	return Envelope{
		ID: "m-1", Key: "customer-7", Type: "order", ContentType: "application/json; v=2", ReplyTo: "replies",
		Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Deadline: time.UnixMilli(1732360000123), MaybeDuplicate: true,
		Headers: []Header{{"tenant", "t1"}, {"tenant", "t2"}, {"", "empty name"}},
	}
}

// The native format is a promise to other programs: the golden file changes only with a good reason.
func TestNativeGolden(t *testing.T) {
	var out bytes.Buffer
	show := func(name string, f Fields, err error) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, name)
		for _, f := range f {
			fmt.Fprintf(&out, "\t%q = %q\n", f.Name, f.Value)
		}
	}
	e := full()
	f, _, err := Native(JSON[order]()).Encode(nil, nil, &e, order{"o-1", 9.5})
	show("json, full envelope", f, err)
	f, _, err = Native(DefaultCodec[string]()).Encode(nil, nil, &Envelope{ContentType: "text/plain"}, "hi")
	show("string, empty envelope", f, err)
	f, _, err = Native(DefaultCodec[[]byte]()).Encode(nil, nil, &Envelope{Key: "k"}, []byte{0, 0xff})
	show("bytes, key", f, err)
	const path = "testdata/native.golden"
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
}

func TestNativeRoundTrip(t *testing.T) {
	f := Native(JSON[order]())
	e := full()
	e.ContentType = ""
	fields, buf, err := f.Encode(nil, nil, &e, order{"o-1", 9.5})
	if err != nil {
		t.Fatal(err)
	}
	more, _, err := f.Encode(nil, buf, &Envelope{}, order{"o-2", 1}) // the arena grows, the first stays valid
	if err != nil {
		t.Fatal(err)
	}
	fields = append(
		fields,
		Field{"unknown", []byte("x")},
		Field{"type", []byte("second")},
		Field{"data", []byte("second")},
	)
	var got Envelope
	v, err := f.Decode(&Entry{ID: "1-0", Fields: fields}, &got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, got); diff != "" || v != (order{"o-1", 9.5}) {
		t.Fatalf("%+v (-want +got):\n%s", v, diff)
	}
	if v, err := f.Decode(&Entry{Fields: more}, &got); err != nil || v.ID != "o-2" || got.Key != "" ||
		len(got.Headers) != 0 {
		t.Fatalf("%+v %+v %v: the envelope was not reset", v, got, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	f := Native(JSON[order]())
	for name, c := range map[string]struct {
		entry Entry
		field string
		is    error
	}{
		"no data":      {Entry{ID: "1-0", Fields: Fields{{"body", nil}}}, "data", ErrNoData},
		"tombstone":    {Entry{ID: "1-0", Deleted: true}, "", ErrTombstone},
		"content type": {Entry{ID: "1-0", Fields: Fields{{"data", []byte("{}")}, {"ct", []byte("image/png")}}}, "ct", ErrContentType},
		"deadline":     {Entry{ID: "1-0", Fields: Fields{{"data", []byte("{}")}, {"deadline", []byte("soon")}}}, "deadline", nil},
		"json":         {Entry{ID: "1-0", Fields: Fields{{"data", []byte("{")}}}, "data", nil},
	} {
		var e Envelope
		_, err := f.Decode(&c.entry, &e)
		var d *DecodeError
		if !errors.As(err, &d) || d.ID != "1-0" || d.Field != c.field || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Native(JSON[float64]()).Encode(nil, nil, &Envelope{}, math.NaN()); err == nil {
		t.Error("NaN is no JSON")
	}
}

func TestRaw(t *testing.T) {
	in := Fields{{"b", []byte("1")}, {"a", nil}, {"b", []byte("2")}}
	var e Envelope
	got, err := Raw().Decode(&Entry{ID: "1-0", Fields: in}, &e)
	if diff := cmp.Diff(in, got); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	out, _, err := Raw().Encode(nil, nil, &e, got)
	if diff := cmp.Diff(in, out); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	if _, _, err := Raw().Encode(nil, nil, &e, nil); err == nil {
		t.Error("an entry without fields was fine")
	}
}

type reading struct {
	Sensor  string `stream:"sensor"`
	N       int8
	U       uint64        `stream:"u,omitempty"`
	Value   float64       `stream:"value"`
	On      bool          `stream:"on"`
	At      time.Time     `stream:"at"`
	For     time.Duration `stream:"for"`
	Raw     []byte        `stream:"raw"`
	Addr    netip.Addr    `stream:"addr"`
	Note    *string       `stream:"note"`
	Skipped chan int      `stream:"-"`
	private int           // left out: it is not exported
}

var _ = reading{}.private

func TestRawStruct(t *testing.T) {
	f, err := RawStruct[reading]()
	if err != nil {
		t.Fatal(err)
	}
	note := "n"
	in := reading{
		Sensor: "s",
		N:      -5,
		Value:  1.5,
		On:     true,
		At:     time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		For:    time.Second,
		Raw:    []byte{0},
		Addr:   netip.MustParseAddr("::1"),
		Note:   &note,
	}
	fields, _, err := f.Encode(nil, nil, &Envelope{}, in)
	if err != nil {
		t.Fatal(err)
	}
	want := "sensor=s N=-5 value=1.5 on=1 at=2026-01-02T03:04:05.000000006Z for=1s raw=\x00 addr=::1 note=n"
	var text []string
	for _, f := range fields {
		text = append(text, f.Name+"="+string(f.Value))
	}
	if diff := cmp.Diff(want, strings.Join(text, " ")); diff != "" {
		t.Fatal(diff)
	}
	fields = append(fields, Field{"sensor", []byte("second")}, Field{"other", nil})
	var e Envelope
	got, err := f.Decode(&Entry{Fields: fields}, &e)
	if diff := cmp.Diff(in, got, cmpopts.IgnoreUnexported(reading{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" ||
		err != nil {
		t.Fatal(diff, err)
	}
	got, err = f.Decode(&Entry{Fields: Fields{{"at", []byte("1732360000123")}, {"on", []byte("true")}}}, &e)
	if err != nil || got.At.UnixMilli() != 1732360000123 || !got.On {
		t.Fatal(got, err)
	}
	for _, bad := range []Field{{"N", []byte("128")}, {"u", []byte("-1")}, {"value", []byte("x")}, {"on", []byte("x")}, {"at", []byte("x")}, {"for", []byte("x")}, {"addr", []byte("x")}} {
		var d *DecodeError
		if _, err := f.Decode(&Entry{ID: "1-0", Fields: Fields{bad}}, &e); !errors.As(err, &d) || d.Field != bad.Name {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := f.Decode(&Entry{ID: "1-0", Deleted: true}, &e); !errors.Is(err, ErrTombstone) {
		t.Error(err)
	}
}

func TestRawStructMistakes(t *testing.T) {
	_, err := RawStruct[struct {
		A int `stream:"x,omitzero"`
		B int `stream:"x"`
		C map[string]int
		d int `stream:"d"`
	}]()
	for _, part := range []string{"omitzero", "another field", "map[string]int", "not exported"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("no word of %q in: %v", part, err)
		}
	}
	if _, err := RawStruct[int](); err == nil {
		t.Error("int is no struct")
	}
	if _, err := RawStruct[struct{}](); err == nil {
		t.Error("nothing to map")
	}
}

func FuzzFormats(f *testing.F) {
	f.Add("k", "t", "v", []byte("data"), int64(5), true)
	f.Add("", "h:", "\xff", []byte(nil), int64(math.MinInt64), false)
	native, err := RawStruct[struct {
		S string `stream:"k"`
		B []byte `stream:"b"`
		I int64  `stream:"i"`
		O bool   `stream:"o"`
	}]()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, k, typ, value string, data []byte, n int64, o bool) {
		e := Envelope{
			Key:         k,
			Type:        typ,
			ID:          value,
			ReplyTo:     k,
			Traceparent: typ,
			Headers:     []Header{{k, value}, {typ, k}},
		}
		if n > 0 && n < 1<<50 {
			e.Deadline = time.UnixMilli(n)
		}
		fields, _, err := Native(Bytes()).Encode(nil, nil, &e, data)
		if err != nil {
			t.Fatal(err)
		}
		var got Envelope
		v, err := Native(Bytes()).Decode(&Entry{Fields: fields}, &got)
		if diff := cmp.Diff(e, got, cmpopts.EquateEmpty()); err != nil || diff != "" || !bytes.Equal(v, data) {
			t.Fatal(err, diff)
		}
		in := struct {
			S string `stream:"k"`
			B []byte `stream:"b"`
			I int64  `stream:"i"`
			O bool   `stream:"o"`
		}{value, data, n, o}
		fields, _, err = native.Encode(nil, nil, &e, in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := native.Decode(&Entry{Fields: fields}, &got)
		if diff := cmp.Diff(in, out, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
		// Anything decodes to a value or a DecodeError.
		var d *DecodeError
		if _, err := Native(JSON[order]()).Decode(&Entry{Fields: Fields{{k, data}, {typ, []byte(value)}, {"data", data}}}, &got); err != nil &&
			!errors.As(err, &d) {
			t.Fatal(err)
		}
		if b, err := String().Append([]byte(k), value); err != nil || string(b) != k+value {
			t.Fatal(err)
		}
	})
}

func TestNativeAllocations(t *testing.T) {
	f := Native(Bytes())
	e := Envelope{Type: "t", Key: "k", Headers: []Header{{"a", "b"}}}
	fields, buf := make(Fields, 0, 16), make([]byte, 0, 1024)
	data := make([]byte, 100)
	var got Envelope
	var entry Entry
	n := testing.AllocsPerRun(100, func() {
		enc, _, err := f.Encode(fields, buf, &e, data)
		if err != nil {
			t.Fatal(err)
		}
		entry.Fields = enc
		if _, err := f.Decode(&entry, &got); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Fatalf("%v allocations to encode and decode bytes", n)
	}
}

// anyBytes is a codec that leaves the content type to whoever uses it.
type anyBytes struct{ Codec[[]byte] }

func (anyBytes) ContentType() string { return "" }

func TestNativeTakesAnyContentType(t *testing.T) {
	f := Native[[]byte](anyBytes{Bytes()})
	fields, _, err := f.Encode(nil, nil, &Envelope{ContentType: "image/png"}, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	var e Envelope
	if v, err := f.Decode(&Entry{ID: "1-0", Fields: fields}, &e); err != nil || string(v) != "x" ||
		e.ContentType != "image/png" {
		t.Errorf("%q of type %q, %v", v, e.ContentType, err)
	}
	if _, err := Native(Bytes()).Decode(&Entry{ID: "1-0", Fields: fields}, &e); !errors.Is(err, ErrContentType) {
		t.Errorf("a codec with a type of its own: %v", err)
	}
}
