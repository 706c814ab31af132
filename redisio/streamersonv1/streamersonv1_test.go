package streamersonv1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

// slotted returns an entry with the list of names and values as in Redis.
func slotted(slots ...string) *redisio.Entry {
	e := &redisio.Entry{ID: "1-0"}
	for p := range slices.Chunk(slots, 2) {
		e.Fields = append(e.Fields, redisio.Field{Name: p[0], Value: []byte(p[1])})
	}
	return e
}

func slotsOf(f redisio.Fields) []string {
	var s []string
	for _, f := range f {
		s = append(s, f.Name, string(f.Value))
	}
	return s
}

// v1Captured has entries that streamerson for Node wrote, as Redis returned them: those of
// @streamerson/core 0.0.19, and of the gateway and the consumer of its repository.
var v1Captured = map[string]struct {
	slots []string
	env   redisio.Envelope
	value string
}{
	"dispatch of 0.0.19": {
		[]string{
			"6c0b5ebd-6602-410b-9710-6b97efb3d459",
			"hello",
			"my-stream-topic::DEFAULT::PRODUCER_OUTGOING",
			"nil",
			"json",
			"me",
			"UnoccupiedField",
			`{"hi":1}`,
		},
		redisio.Envelope{
			ID:      "6c0b5ebd-6602-410b-9710-6b97efb3d459",
			Type:    "hello",
			ReplyTo: "my-stream-topic::DEFAULT::PRODUCER_OUTGOING",
			Headers: []redisio.Header{{Name: "sourceId", Value: "me"}},
		},
		`{"hi":1}`,
	},
	"write stream of 0.0.19": {
		[]string{
			"m-1",
			"resp",
			"my-stream-topic::DEFAULT::PRODUCER_OUTGOING",
			"nil",
			"json",
			"s",
			"UnoccupiedField",
			`{"x":"é"}`,
		},
		redisio.Envelope{
			ID:      "m-1",
			Type:    "resp",
			ReplyTo: "my-stream-topic::DEFAULT::PRODUCER_OUTGOING",
			Headers: []redisio.Header{{Name: "sourceId", Value: "s"}},
		},
		`{"x":"é"}`,
	},
	"request of the gateway": {
		[]string{
			"272ae88f-0fa9-4d9c-b367-0e6c27de0421",
			"resp",
			"my-stream-topic::DEFAULT::PRODUCER_OUTGOING",
			"nil",
			"json",
			"",
			"UnoccupiedField",
			`{}`,
		},
		redisio.Envelope{
			ID:      "272ae88f-0fa9-4d9c-b367-0e6c27de0421",
			Type:    "resp",
			ReplyTo: "my-stream-topic::DEFAULT::PRODUCER_OUTGOING",
		},
		`{}`,
	},
	"reply of the consumer": {
		[]string{
			"2ef8f781-0fa9-4d9c-b367-0e6c27de0421",
			"resp",
			"",
			"nil",
			"json",
			"",
			"UnoccupiedField",
			`{"world":"I am a stream processor"}`,
		},
		redisio.Envelope{ID: "2ef8f781-0fa9-4d9c-b367-0e6c27de0421", Type: "resp"},
		`{"world":"I am a stream processor"}`,
	},
}

func TestStreamersonV1Captured(t *testing.T) {
	f := Format(redisio.JSON[json.RawMessage]())
	for name, c := range v1Captured {
		var e redisio.Envelope
		v, err := f.Decode(slotted(c.slots...), &e)
		if err != nil || string(v) != c.value {
			t.Errorf("%s: %s, %v", name, v, err)
		}
		if diff := cmp.Diff(c.env, e, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		fields, _, err := f.Encode(nil, nil, &e, v)
		if diff := cmp.Diff(c.slots, slotsOf(fields)); err != nil || diff != "" {
			t.Errorf("%s: written again it is another entry: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// The v1 format is a promise to other programs: its golden file changes only for a very good
// reason.
func TestStreamersonV1Golden(t *testing.T) {
	var out bytes.Buffer
	show := func(name string, f redisio.Fields, _ []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, name)
		for i, s := range slotsOf(f) {
			fmt.Fprintf(&out, "\t%d %q\n", i, s)
		}
	}
	put := func(name string, f redisio.Format[any], e redisio.Envelope, v any) {
		e.ID = "m-1"
		fields, buf, err := f.Encode(nil, nil, &e, v)
		show(name, fields, buf, err)
	}
	all := rig.Full()
	all.Headers = append(
		all.Headers,
		redisio.Header{Name: "sourceId", Value: "session-7"},
		redisio.Header{Name: "quote", Value: `"ü` + "\n"},
	)
	put("json, full envelope", Format(redisio.JSON[any]()), all, rig.Order{ID: "o-1", Total: 9.5})
	put("json, empty envelope", Format(redisio.JSON[any]()), redisio.Envelope{}, map[string]string{"a": "<b>"})
	for _, v := range []any{nil, false, 0, "", -0.5, "x"} {
		put(fmt.Sprintf("json, %#v", v), Format(redisio.JSON[any]()), redisio.Envelope{}, v)
	}
	fields, buf, err := Format(
		redisio.String(),
	).Encode(nil, nil, &redisio.Envelope{ID: "m-1", ContentType: "text/plain"}, "hi")
	show("string", fields, buf, err)
	fields, buf, err = Format(redisio.String()).Encode(nil, nil, &redisio.Envelope{ID: "m-1"}, "")
	show("string, empty", fields, buf, err)
	fields, buf, err = Format[[]byte](
		rig.AnyBytes{Codec: redisio.Bytes()},
	).Encode(nil, nil, &redisio.Envelope{ID: "m-1", ContentType: "image/png"}, []byte{0, 0xff})
	show("bytes of a type", fields, buf, err)
	const path = "testdata/streamersonv1.golden"
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

func TestStreamersonV1RoundTrip(t *testing.T) {
	f := Format(redisio.JSON[rig.Order]())
	e := rig.Full()
	e.ContentType = ""
	e.Headers = []redisio.Header{
		{Name: "", Value: "empty name"},
		{Name: "quote", Value: "\"ü\n"},
		{Name: "tenant", Value: "t1"},
		{Name: "tenant", Value: "t2"},
		{Name: "sourceId", Value: "s"},
	}
	fields, buf, err := f.Encode(nil, nil, &e, rig.Order{ID: "o-1", Total: 9.5})
	if err != nil {
		t.Fatal(err)
	}
	more, _, err := f.Encode(
		nil,
		buf,
		&redisio.Envelope{ID: "m-2"},
		rig.Order{ID: "o-2", Total: 1},
	) // the arena grows, the first stays valid
	if err != nil {
		t.Fatal(err)
	}
	fields = append(
		fields,
		redisio.Field{Name: "somebody's", Value: []byte("x")},
		redisio.Field{Name: v1Key, Value: []byte("second")},
		redisio.Field{Name: v1Deadline, Value: []byte("1")},
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

// Field names are data in v1: the same name may occur twice, or be the name of another slot.
func TestStreamersonV1IsPositional(t *testing.T) {
	var e redisio.Envelope
	v, err := Format(
		redisio.String(),
	).Decode(slotted("json", "t", "json", "nil", "json", "json", "json", `"payload"`), &e)
	want := redisio.Envelope{
		ID:      "json",
		Type:    "t",
		ReplyTo: "json",
		Headers: []redisio.Header{{Name: "sourceId", Value: "json"}},
	}
	if diff := cmp.Diff(want, e); err != nil || v != "payload" || diff != "" {
		t.Errorf("%q, %v (-want +got):\n%s", v, err, diff)
	}
}

// No entry that we write ends a Node reader or stops a Node pipe.
func TestStreamersonV1NeverHurtsNode(t *testing.T) {
	f := Format(redisio.JSON[any]())
	for _, v := range []any{nil, false, 0.0, math.Copysign(0, -1), "", true, 1.0, "0", "x", []any{}, map[string]any{},
		0.5, 1e300} {
		fields, _, err := f.Encode(nil, nil, &redisio.Envelope{}, v)
		if err != nil {
			t.Fatal(err)
		}
		s := slotsOf(fields)
		if len(s) != v1Slots || s[0] == "" || s[7] == "" ||
			s[4] == v1JSON && (!json.Valid([]byte(s[7])) || falsy([]byte(s[7]))) {
			t.Errorf("%#v goes as %q", v, s)
		}
		var e redisio.Envelope
		if got, err := f.Decode(&redisio.Entry{Fields: fields}, &e); err != nil || !cmp.Equal(v, got) {
			t.Errorf("%#v comes back as %#v, %v", v, got, err)
		}
	}
	raw := Format[[]byte](rig.AnyBytes{Codec: redisio.Bytes()})
	for text, protocol := range map[string]string{"": "json", `{"a":1}`: "json", "5": "json", "{": "text", "0.0e5": "text", " null\n": "text", "1e-999": "text", "0.1": "json", "-0": "text", "1e2": "json"} {
		fields, _, err := raw.Encode(nil, nil, &redisio.Envelope{}, []byte(text))
		if err != nil || fields[2].Name != protocol {
			t.Errorf("%q goes as %q, %v", text, fields[2].Name, err)
		}
		var e redisio.Envelope
		if got, err := raw.Decode(&redisio.Entry{Fields: fields}, &e); err != nil || string(got) != text {
			t.Errorf("%q comes back as %q, %v", text, got, err)
		}
	}
	if _, _, err := raw.Encode(nil, nil, &redisio.Envelope{ContentType: "application/problem+json"},
		[]byte("{")); !errors.Is(
		err,
		ErrNotJSON,
	) {
		t.Errorf("broken JSON: %v", err)
	}
}

func TestStreamersonV1Headers(t *testing.T) {
	for text, want := range map[string][]redisio.Header{
		"nil": nil, "": nil, "null": nil, "{}": nil,
		`{"b":"2","a":"1"}`:                       {{Name: "a", Value: "1"}, {Name: "b", Value: "2"}},
		`{"n":5,"o":{"x":1},"z":null}`:            {{Name: "n", Value: "5"}, {Name: "o", Value: `{"x":1}`}, {Name: "z", Value: "null"}},
		`{"a":["1","2"],"b":["1",2],"c":["",""]}`: {{Name: "a", Value: "1"}, {Name: "a", Value: "2"}, {Name: "b", Value: `["1",2]`}, {Name: "c", Value: ""}, {Name: "c", Value: ""}},
		`{"a":"1","a":"2","sourceId":"forged"}`:   {{Name: "a", Value: "2"}},
	} {
		var e redisio.Envelope
		_, err := Format(redisio.String()).Decode(slotted("m", "t", "", text, "text", "", "x", "y"), &e)
		if diff := cmp.Diff(want, e.Headers, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

func TestStreamersonV1Poison(t *testing.T) {
	f := Format(redisio.JSON[rig.Order]())
	for name, c := range map[string]struct {
		entry *redisio.Entry
		field string
		is    error
	}{
		"tombstone":     {&redisio.Entry{ID: "1-0", Deleted: true}, "", redisio.ErrTombstone},
		"another's":     {slotted("data", "{}", "type", "t"), "", ErrSlots},
		"no message id": {slotted("", "t", "", "nil", "json", "", "UnoccupiedField", "{}"), "messageId", ErrNoMessageID},
		"headers":       {slotted("m", "t", "", "[1]", "json", "", "UnoccupiedField", "{}"), "headers", nil},
		"cut headers":   {slotted("m", "t", "", `{"a":`, "json", "", "UnoccupiedField", "{}"), "headers", nil},
		"payload":       {slotted("m", "t", "", "nil", "json", "", "UnoccupiedField", "{"), "payload", nil},
		"deadline":      {slotted("m", "t", "", "nil", "json", "", "UnoccupiedField", "{}", v1Deadline, "soon"), v1Deadline, nil},
		"content type":  {slotted("m", "t", "", "nil", "json", "", "UnoccupiedField", "{}", v1ContentType, "image/png"), v1ContentType, redisio.ErrContentType},
	} {
		var e redisio.Envelope
		_, err := f.Decode(c.entry, &e)
		var d *redisio.DecodeError
		if !errors.As(err, &d) || d.ID != "1-0" || d.Field != c.field || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var e redisio.Envelope
	if _, err := Format(redisio.String()).Decode(slotted("m", "t", "", "nil", "json", "", "UnoccupiedField", `"cut`), &e); err == nil {
		t.Error("half a JSON string was text")
	}
}

func TestStreamersonTopic(t *testing.T) {
	for _, c := range []struct {
		topic    Topic
		incoming string
	}{
		// As Topic, getWriteStream and dispatch of 0.0.19 spell them.
		{Topic{Namespace: "my-stream-topic"}, "my-stream-topic::DEFAULT::CONSUMER_INCOMING"},
		{Topic{Namespace: "n", Topic: "t"}, "n::t::CONSUMER_INCOMING"},
		{Topic{Namespace: "n", Topic: "t", Shard: "s"}, "n::t#s::CONSUMER_INCOMING"},
		{Topic{Namespace: "n", Topic: "t", Shard: "s", Spelling: ShardTwice}, "n::t#s::CONSUMER_INCOMING#s"},
		{Topic{Namespace: "n", Topic: "t", Shard: "s", Spelling: ShardAtEnd}, "n::t::CONSUMER_INCOMING#s"},
		{Topic{Namespace: "n", Topic: "t", Spelling: ShardAtEnd}, "n::t::CONSUMER_INCOMING"},
		{Topic{Namespace: "n", Topic: "t", Shard: "s"}.Subtopic("eu"), "n::t(eu)#s::CONSUMER_INCOMING"},
		{Topic{Namespace: "n"}.Subtopic("eu").Subtopic("de"), "n::DEFAULT(eu)(de)::CONSUMER_INCOMING"},
	} {
		if got := c.topic.Incoming(); got != c.incoming {
			t.Errorf("%+v: %q, want %q", c.topic, got, c.incoming)
		}
		if got, want := c.topic.Outgoing(), strings.Replace(c.incoming, "CONSUMER_INCOMING", "PRODUCER_OUTGOING",
			1); got != want {
			t.Errorf("%+v: %q, want %q", c.topic, got, want)
		}
	}
}

// A Node function that wrote messages swapped id and type, and omitted the source.
func TestD21_EachPartHasItsSlot(t *testing.T) {
	e := redisio.Envelope{
		ID:      "the id",
		Type:    "MYTYPE",
		ReplyTo: "the destination",
		Headers: []redisio.Header{{Name: HeaderSourceID, Value: "the source"}},
	}
	fields, _, err := Format(redisio.JSON[map[string]int]()).Encode(nil, nil, &e, map[string]int{"n": 1})
	want := []string{"the id", "MYTYPE", "the destination", "nil", "json", "the source", "UnoccupiedField", `{"n":1}`}
	if diff := cmp.Diff(want, slotsOf(fields)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestStreamersonV1Allocations(t *testing.T) {
	f := Format(redisio.Bytes())
	e := redisio.Envelope{
		ID:       "m-1",
		Type:     "t",
		ReplyTo:  "r",
		Key:      "k",
		Deadline: time.UnixMilli(5),
		Headers:  []redisio.Header{{Name: HeaderSourceID, Value: "b"}},
	}
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

func FuzzStreamersonV1(f *testing.F) {
	f.Add("m", "resp", "dest", `{"a":["1"]}`, "json", "s", `"x"`, "streamerson-go:key", "k")
	f.Add("m", "t", "", "nil", "text", "", "\xff", "streamerson-go:empty", "1")
	f.Add("m", "t", "", "", "json", "", "0", "streamerson-go:deadline", "-5")
	f.Fuzz(func(t *testing.T, id, typ, dest, headers, protocol, source, payload, name, value string) {
		// Anything decodes to a value or a DecodeError.
		entry := slotted(id, typ, dest, headers, protocol, source, v1Unused, payload, name, value)
		opaque := Format[[]byte](rig.AnyBytes{Codec: redisio.Bytes()})
		var e, got redisio.Envelope
		var d *redisio.DecodeError
		if _, err := Format(redisio.JSON[rig.Order]()).Decode(entry, &e); err != nil && !errors.As(err, &d) {
			t.Fatal(err)
		}
		v, err := opaque.Decode(entry, &e)
		if err != nil {
			if !errors.As(err, &d) {
				t.Fatal(err)
			}
			return
		}
		// A decoded value can be written and decoded again, unless it is declared as JSON and is
		// not.
		fields, _, err := opaque.Encode(nil, nil, &e, v)
		if errors.Is(err, ErrNotJSON) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := opaque.Decode(&redisio.Entry{Fields: fields}, &got)
		if err != nil || !bytes.Equal(v, again) {
			t.Fatalf("%q, %q, %v", v, again, err)
		}
		if diff := cmp.Diff(e, got, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

// BenchmarkFormats compares the formats: it encodes and decodes an entry with the envelope of a
// request.
func BenchmarkFormats(b *testing.B) {
	for _, c := range []struct {
		name string
		f    redisio.Format[[]byte]
	}{{"native", redisio.Native(redisio.Bytes())}, {"v1", Format(redisio.Bytes())}} {
		b.Run(c.name, func(b *testing.B) {
			e := redisio.Envelope{
				ID:       "3f48df08-0fa9-4d9c-b367-0e6c27de0421",
				Type:     "hello",
				ReplyTo:  "topic::DEFAULT::PRODUCER_OUTGOING",
				Deadline: time.UnixMilli(1732360000123),
			}
			fields, buf, data := make(redisio.Fields, 0, 16), make([]byte, 0, 1024), make([]byte, 100)
			var got redisio.Envelope
			b.ReportAllocs()
			for b.Loop() {
				enc, _, err := c.f.Encode(fields, buf, &e, data)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.f.Decode(&redisio.Entry{Fields: enc}, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
