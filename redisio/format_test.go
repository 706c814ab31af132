package redisio_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

// The native format is a promise to other programs: the golden file changes only with a good reason.
func TestNativeGolden(t *testing.T) {
	var out bytes.Buffer
	show := func(name string, f redisio.Fields, err error) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, name)
		for _, f := range f {
			fmt.Fprintf(&out, "\t%q = %q\n", f.Name, f.Value)
		}
	}
	e := rig.Full()
	f, _, err := redisio.Native(redisio.JSON[rig.Order]()).Encode(nil, nil, &e, rig.Order{ID: "o-1", Total: 9.5})
	show("json, full envelope", f, err)
	f, _, err = redisio.Native(redisio.DefaultCodec[string]()).
		Encode(nil, nil, &redisio.Envelope{ContentType: "text/plain"}, "hi")
	show("string, empty envelope", f, err)
	f, _, err = redisio.Native(redisio.DefaultCodec[[]byte]()).
		Encode(nil, nil, &redisio.Envelope{Key: "k"}, []byte{0, 0xff})
	show("bytes, key", f, err)
	const path = "testdata/native.golden"
	if *rig.Update {
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
	f := redisio.Native(redisio.JSON[rig.Order]())
	e := rig.Full()
	e.ContentType = ""
	fields, buf, err := f.Encode(nil, nil, &e, rig.Order{ID: "o-1", Total: 9.5})
	if err != nil {
		t.Fatal(err)
	}
	more, _, err := f.Encode(
		nil,
		buf,
		&redisio.Envelope{},
		rig.Order{ID: "o-2", Total: 1},
	) // the arena grows, the first stays valid
	if err != nil {
		t.Fatal(err)
	}
	fields = append(
		fields,
		redisio.Field{Name: "unknown", Value: []byte("x")},
		redisio.Field{Name: "type", Value: []byte("second")},
		redisio.Field{Name: "data", Value: []byte("second")},
	)
	var got redisio.Envelope
	v, err := f.Decode(&redisio.Entry{ID: "1-0", Fields: fields}, &got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, got); diff != "" || v != (rig.Order{ID: "o-1", Total: 9.5}) {
		t.Fatalf("%+v (-want +got):\n%s", v, diff)
	}
	if v, err := f.Decode(&redisio.Entry{Fields: more}, &got); err != nil || v.ID != "o-2" || got.Key != "" ||
		len(got.Headers) != 0 {
		t.Fatalf("%+v %+v %v: the envelope was not reset", v, got, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	f := redisio.Native(redisio.JSON[rig.Order]())
	for name, c := range map[string]struct {
		entry redisio.Entry
		field string
		is    error
	}{
		"no data":      {redisio.Entry{ID: "1-0", Fields: redisio.Fields{{Name: "body", Value: nil}}}, "data", redisio.ErrNoData},
		"tombstone":    {redisio.Entry{ID: "1-0", Deleted: true}, "", redisio.ErrTombstone},
		"content type": {redisio.Entry{ID: "1-0", Fields: redisio.Fields{{Name: "data", Value: []byte("{}")}, {Name: "ct", Value: []byte("image/png")}}}, "ct", redisio.ErrContentType},
		"deadline":     {redisio.Entry{ID: "1-0", Fields: redisio.Fields{{Name: "data", Value: []byte("{}")}, {Name: "deadline", Value: []byte("soon")}}}, "deadline", nil},
		"json":         {redisio.Entry{ID: "1-0", Fields: redisio.Fields{{Name: "data", Value: []byte("{")}}}, "data", nil},
	} {
		var e redisio.Envelope
		_, err := f.Decode(&c.entry, &e)
		var d *redisio.DecodeError
		if !errors.As(err, &d) || d.ID != "1-0" || d.Field != c.field || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := redisio.Native(redisio.JSON[float64]()).Encode(nil, nil, &redisio.Envelope{},
		math.NaN()); err == nil {
		t.Error("NaN is no JSON")
	}
}

func TestRaw(t *testing.T) {
	in := redisio.Fields{{Name: "b", Value: []byte("1")}, {Name: "a", Value: nil}, {Name: "b", Value: []byte("2")}}
	var e redisio.Envelope
	got, err := redisio.Raw().Decode(&redisio.Entry{ID: "1-0", Fields: in}, &e)
	if diff := cmp.Diff(in, got); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	out, _, err := redisio.Raw().Encode(nil, nil, &e, got)
	if diff := cmp.Diff(in, out); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	if _, _, err := redisio.Raw().Encode(nil, nil, &e, nil); err == nil {
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
	f, err := redisio.RawStruct[reading]()
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
	fields, _, err := f.Encode(nil, nil, &redisio.Envelope{}, in)
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
	fields = append(
		fields,
		redisio.Field{Name: "sensor", Value: []byte("second")},
		redisio.Field{Name: "other", Value: nil},
	)
	var e redisio.Envelope
	got, err := f.Decode(&redisio.Entry{Fields: fields}, &e)
	if diff := cmp.Diff(in, got, cmpopts.IgnoreUnexported(reading{}),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" ||
		err != nil {
		t.Fatal(diff, err)
	}
	got, err = f.Decode(
		&redisio.Entry{
			Fields: redisio.Fields{{Name: "at", Value: []byte("1732360000123")}, {Name: "on", Value: []byte("true")}},
		},
		&e,
	)
	if err != nil || got.At.UnixMilli() != 1732360000123 || !got.On {
		t.Fatal(got, err)
	}
	for _, bad := range []redisio.Field{{Name: "N", Value: []byte("128")}, {Name: "u", Value: []byte("-1")}, {Name: "value", Value: []byte("x")}, {Name: "on", Value: []byte("x")}, {Name: "at", Value: []byte("x")}, {Name: "for", Value: []byte("x")}, {Name: "addr", Value: []byte("x")}} {
		var d *redisio.DecodeError
		if _, err := f.Decode(&redisio.Entry{ID: "1-0", Fields: redisio.Fields{bad}}, &e); !errors.As(err, &d) ||
			d.Field != bad.Name {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := f.Decode(&redisio.Entry{ID: "1-0", Deleted: true}, &e); !errors.Is(err, redisio.ErrTombstone) {
		t.Error(err)
	}
}

func TestRawStructMistakes(t *testing.T) {
	_, err := redisio.RawStruct[struct {
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
	if _, err := redisio.RawStruct[int](); err == nil {
		t.Error("int is no struct")
	}
	if _, err := redisio.RawStruct[struct{}](); err == nil {
		t.Error("nothing to map")
	}
}

func FuzzFormats(f *testing.F) {
	f.Add("k", "t", "v", []byte("data"), int64(5), true)
	f.Add("", "h:", "\xff", []byte(nil), int64(math.MinInt64), false)
	native, err := redisio.RawStruct[struct {
		S string `stream:"k"`
		B []byte `stream:"b"`
		I int64  `stream:"i"`
		O bool   `stream:"o"`
	}]()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, k, typ, value string, data []byte, n int64, o bool) {
		e := redisio.Envelope{
			Key:         k,
			Type:        typ,
			ID:          value,
			ReplyTo:     k,
			Traceparent: typ,
			Tracestate:  value,
			Baggage:     k,
			Headers:     []redisio.Header{{Name: k, Value: value}, {Name: typ, Value: k}},
		}
		if n > 0 && n < 1<<50 {
			e.Deadline = time.UnixMilli(n)
		}
		fields, _, err := redisio.Native(redisio.Bytes()).Encode(nil, nil, &e, data)
		if err != nil {
			t.Fatal(err)
		}
		var got redisio.Envelope
		v, err := redisio.Native(redisio.Bytes()).Decode(&redisio.Entry{Fields: fields}, &got)
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
		out, err := native.Decode(&redisio.Entry{Fields: fields}, &got)
		if diff := cmp.Diff(in, out, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
		// Anything decodes to a value or a DecodeError.
		var d *redisio.DecodeError
		if _, err := redisio.Native(redisio.JSON[rig.Order]()).Decode(&redisio.Entry{Fields: redisio.Fields{{Name: k, Value: data}, {Name: typ, Value: []byte(value)}, {Name: "data", Value: data}}}, &got); err != nil &&
			!errors.As(err, &d) {
			t.Fatal(err)
		}
		if b, err := redisio.String().Append([]byte(k), value); err != nil || string(b) != k+value {
			t.Fatal(err)
		}
	})
}

func TestNativeAllocations(t *testing.T) {
	f := redisio.Native(redisio.Bytes())
	e := redisio.Envelope{Type: "t", Key: "k", Headers: []redisio.Header{{Name: "a", Value: "b"}}}
	fields, buf := make(redisio.Fields, 0, 16), make([]byte, 0, 1024)
	data := make([]byte, 100)
	var got redisio.Envelope
	var entry redisio.Entry
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

func TestNativeTakesAnyContentType(t *testing.T) {
	f := redisio.Native[[]byte](rig.AnyBytes{Codec: redisio.Bytes()})
	fields, _, err := f.Encode(nil, nil, &redisio.Envelope{ContentType: "image/png"}, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	var e redisio.Envelope
	if v, err := f.Decode(&redisio.Entry{ID: "1-0", Fields: fields}, &e); err != nil || string(v) != "x" ||
		e.ContentType != "image/png" {
		t.Errorf("%q of type %q, %v", v, e.ContentType, err)
	}
	if _, err := redisio.Native(redisio.Bytes()).Decode(&redisio.Entry{ID: "1-0", Fields: fields}, &e); !errors.Is(
		err,
		redisio.ErrContentType,
	) {
		t.Errorf("a codec with a type of its own: %v", err)
	}
}
