package redisio

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
)

// slotted makes an entry of the list of names and values that Redis has.
func slotted(slots ...string) *Entry {
	e := &Entry{ID: "1-0"}
	for p := range slices.Chunk(slots, 2) {
		e.Fields = append(e.Fields, Field{p[0], []byte(p[1])})
	}
	return e
}

func slotsOf(f Fields) []string {
	var s []string
	for _, f := range f {
		s = append(s, f.Name, string(f.Value))
	}
	return s
}

// What streamerson for Node has written, as Redis returned it: entries of @streamerson/core 0.0.19,
// and of the gateway and the consumer of its repository.
var v1Captured = map[string]struct {
	slots []string
	env   Envelope
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
		Envelope{
			ID:      "6c0b5ebd-6602-410b-9710-6b97efb3d459",
			Type:    "hello",
			ReplyTo: "my-stream-topic::DEFAULT::PRODUCER_OUTGOING",
			Headers: []Header{{"sourceId", "me"}},
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
		Envelope{
			ID:      "m-1",
			Type:    "resp",
			ReplyTo: "my-stream-topic::DEFAULT::PRODUCER_OUTGOING",
			Headers: []Header{{"sourceId", "s"}},
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
		Envelope{
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
		Envelope{ID: "2ef8f781-0fa9-4d9c-b367-0e6c27de0421", Type: "resp"},
		`{"world":"I am a stream processor"}`,
	},
}

func TestStreamersonV1Captured(t *testing.T) {
	f := StreamersonV1(JSON[json.RawMessage]())
	for name, c := range v1Captured {
		var e Envelope
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

// The v1 format is a promise to programs of others: its golden file changes only with a very good reason.
func TestStreamersonV1Golden(t *testing.T) {
	var out bytes.Buffer
	show := func(name string, f Fields, _ []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, name)
		for i, s := range slotsOf(f) {
			fmt.Fprintf(&out, "\t%d %q\n", i, s)
		}
	}
	put := func(name string, f Format[any], e Envelope, v any) {
		e.ID = "m-1"
		fields, buf, err := f.Encode(nil, nil, &e, v)
		show(name, fields, buf, err)
	}
	all := full()
	all.Headers = append(all.Headers, Header{"sourceId", "session-7"}, Header{"quote", `"ü` + "\n"})
	put("json, full envelope", StreamersonV1(JSON[any]()), all, order{"o-1", 9.5})
	put("json, empty envelope", StreamersonV1(JSON[any]()), Envelope{}, map[string]string{"a": "<b>"})
	for _, v := range []any{nil, false, 0, "", -0.5, "x"} {
		put(fmt.Sprintf("json, %#v", v), StreamersonV1(JSON[any]()), Envelope{}, v)
	}
	fields, buf, err := StreamersonV1(String()).Encode(nil, nil, &Envelope{ID: "m-1", ContentType: "text/plain"}, "hi")
	show("string", fields, buf, err)
	fields, buf, err = StreamersonV1(String()).Encode(nil, nil, &Envelope{ID: "m-1"}, "")
	show("string, empty", fields, buf, err)
	fields, buf, err = StreamersonV1[[]byte](
		anyBytes{Bytes()},
	).Encode(nil, nil, &Envelope{ID: "m-1", ContentType: "image/png"}, []byte{0, 0xff})
	show("bytes of a type", fields, buf, err)
	const path = "testdata/streamersonv1.golden"
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

func TestStreamersonV1RoundTrip(t *testing.T) {
	f := StreamersonV1(JSON[order]())
	e := full()
	e.ContentType = ""
	e.Headers = []Header{{"", "empty name"}, {"quote", "\"ü\n"}, {"tenant", "t1"}, {"tenant", "t2"}, {"sourceId", "s"}}
	fields, buf, err := f.Encode(nil, nil, &e, order{"o-1", 9.5})
	if err != nil {
		t.Fatal(err)
	}
	more, _, err := f.Encode(nil, buf, &Envelope{ID: "m-2"}, order{"o-2", 1}) // the arena grows, the first stays valid
	if err != nil {
		t.Fatal(err)
	}
	fields = append(
		fields,
		Field{"somebody's", []byte("x")},
		Field{v1Key, []byte("second")},
		Field{v1Deadline, []byte("1")},
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

// Names of fields are data in v1: the same name may come twice, or be that of another slot.
func TestStreamersonV1IsPositional(t *testing.T) {
	var e Envelope
	v, err := StreamersonV1(
		String(),
	).Decode(slotted("json", "t", "json", "nil", "json", "json", "json", `"payload"`), &e)
	want := Envelope{ID: "json", Type: "t", ReplyTo: "json", Headers: []Header{{"sourceId", "json"}}}
	if diff := cmp.Diff(want, e); err != nil || v != "payload" || diff != "" {
		t.Errorf("%q, %v (-want +got):\n%s", v, err, diff)
	}
}

// Nothing that is written makes a reader of Node end, or a pipe of Node stop.
func TestStreamersonV1NeverHurtsNode(t *testing.T) {
	f := StreamersonV1(JSON[any]())
	for _, v := range []any{nil, false, 0.0, math.Copysign(0, -1), "", true, 1.0, "0", "x", []any{}, map[string]any{}, 0.5, 1e300} {
		fields, _, err := f.Encode(nil, nil, &Envelope{}, v)
		if err != nil {
			t.Fatal(err)
		}
		s := slotsOf(fields)
		if len(s) != v1Slots || s[0] == "" || s[7] == "" ||
			s[4] == v1JSON && (!json.Valid([]byte(s[7])) || falsy([]byte(s[7]))) {
			t.Errorf("%#v goes as %q", v, s)
		}
		var e Envelope
		if got, err := f.Decode(&Entry{Fields: fields}, &e); err != nil || !cmp.Equal(v, got) {
			t.Errorf("%#v comes back as %#v, %v", v, got, err)
		}
	}
	raw := StreamersonV1[[]byte](anyBytes{Bytes()})
	for text, protocol := range map[string]string{"": "json", `{"a":1}`: "json", "5": "json", "{": "text", "0.0e5": "text", " null\n": "text", "1e-999": "text", "0.1": "json", "-0": "text", "1e2": "json"} {
		fields, _, err := raw.Encode(nil, nil, &Envelope{}, []byte(text))
		if err != nil || fields[2].Name != protocol {
			t.Errorf("%q goes as %q, %v", text, fields[2].Name, err)
		}
		var e Envelope
		if got, err := raw.Decode(&Entry{Fields: fields}, &e); err != nil || string(got) != text {
			t.Errorf("%q comes back as %q, %v", text, got, err)
		}
	}
	if _, _, err := raw.Encode(nil, nil, &Envelope{ContentType: "application/problem+json"}, []byte("{")); !errors.Is(
		err,
		ErrNotJSON,
	) {
		t.Errorf("broken JSON: %v", err)
	}
}

func TestStreamersonV1Headers(t *testing.T) {
	for text, want := range map[string][]Header{
		"nil": nil, "": nil, "null": nil, "{}": nil,
		`{"b":"2","a":"1"}`:                       {{"a", "1"}, {"b", "2"}},
		`{"n":5,"o":{"x":1},"z":null}`:            {{"n", "5"}, {"o", `{"x":1}`}, {"z", "null"}},
		`{"a":["1","2"],"b":["1",2],"c":["",""]}`: {{"a", "1"}, {"a", "2"}, {"b", `["1",2]`}, {"c", ""}, {"c", ""}},
		`{"a":"1","a":"2","sourceId":"forged"}`:   {{"a", "2"}},
	} {
		var e Envelope
		_, err := StreamersonV1(String()).Decode(slotted("m", "t", "", text, "text", "", "x", "y"), &e)
		if diff := cmp.Diff(want, e.Headers, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

func TestStreamersonV1Poison(t *testing.T) {
	f := StreamersonV1(JSON[order]())
	for name, c := range map[string]struct {
		entry *Entry
		field string
		is    error
	}{
		"tombstone":     {&Entry{ID: "1-0", Deleted: true}, "", ErrTombstone},
		"another's":     {slotted("data", "{}", "type", "t"), "", ErrSlots},
		"no message id": {slotted("", "t", "", "nil", "json", "", "UnoccupiedField", "{}"), "messageId", ErrNoMessageID},
		"headers":       {slotted("m", "t", "", "[1]", "json", "", "UnoccupiedField", "{}"), "headers", nil},
		"cut headers":   {slotted("m", "t", "", `{"a":`, "json", "", "UnoccupiedField", "{}"), "headers", nil},
		"payload":       {slotted("m", "t", "", "nil", "json", "", "UnoccupiedField", "{"), "payload", nil},
		"deadline":      {slotted("m", "t", "", "nil", "json", "", "UnoccupiedField", "{}", v1Deadline, "soon"), v1Deadline, nil},
		"content type":  {slotted("m", "t", "", "nil", "json", "", "UnoccupiedField", "{}", v1ContentType, "image/png"), v1ContentType, ErrContentType},
	} {
		var e Envelope
		_, err := f.Decode(c.entry, &e)
		var d *DecodeError
		if !errors.As(err, &d) || d.ID != "1-0" || d.Field != c.field || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var e Envelope
	if _, err := StreamersonV1(String()).Decode(slotted("m", "t", "", "nil", "json", "", "UnoccupiedField", `"cut`), &e); err == nil {
		t.Error("half a JSON string was text")
	}
}

func TestStreamersonTopic(t *testing.T) {
	for _, c := range []struct {
		topic    StreamersonTopic
		incoming string
	}{
		// As Topic, getWriteStream and dispatch of 0.0.19 spell them.
		{StreamersonTopic{Namespace: "my-stream-topic"}, "my-stream-topic::DEFAULT::CONSUMER_INCOMING"},
		{StreamersonTopic{Namespace: "n", Topic: "t"}, "n::t::CONSUMER_INCOMING"},
		{StreamersonTopic{Namespace: "n", Topic: "t", Shard: "s"}, "n::t#s::CONSUMER_INCOMING"},
		{StreamersonTopic{Namespace: "n", Topic: "t", Shard: "s", Spelling: ShardTwice}, "n::t#s::CONSUMER_INCOMING#s"},
		{StreamersonTopic{Namespace: "n", Topic: "t", Shard: "s", Spelling: ShardAtEnd}, "n::t::CONSUMER_INCOMING#s"},
		{StreamersonTopic{Namespace: "n", Topic: "t", Spelling: ShardAtEnd}, "n::t::CONSUMER_INCOMING"},
		{StreamersonTopic{Namespace: "n", Topic: "t", Shard: "s"}.Subtopic("eu"), "n::t(eu)#s::CONSUMER_INCOMING"},
		{StreamersonTopic{Namespace: "n"}.Subtopic("eu").Subtopic("de"), "n::DEFAULT(eu)(de)::CONSUMER_INCOMING"},
	} {
		if got := c.topic.Incoming(); got != c.incoming {
			t.Errorf("%+v: %q, want %q", c.topic, got, c.incoming)
		}
		if got, want := c.topic.Outgoing(), strings.Replace(c.incoming, "CONSUMER_INCOMING", "PRODUCER_OUTGOING", 1); got != want {
			t.Errorf("%+v: %q, want %q", c.topic, got, want)
		}
	}
}

// Id and type were swapped, and the source left out, by a function of Node that wrote messages.
func TestD21_EachPartHasItsSlot(t *testing.T) {
	e := Envelope{
		ID:      "the id",
		Type:    "MYTYPE",
		ReplyTo: "the destination",
		Headers: []Header{{HeaderSourceID, "the source"}},
	}
	fields, _, err := StreamersonV1(JSON[map[string]int]()).Encode(nil, nil, &e, map[string]int{"n": 1})
	want := []string{"the id", "MYTYPE", "the destination", "nil", "json", "the source", "UnoccupiedField", `{"n":1}`}
	if diff := cmp.Diff(want, slotsOf(fields)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestStreamersonV1Allocations(t *testing.T) {
	f := StreamersonV1(Bytes())
	e := Envelope{
		ID:       "m-1",
		Type:     "t",
		ReplyTo:  "r",
		Key:      "k",
		Deadline: time.UnixMilli(5),
		Headers:  []Header{{HeaderSourceID, "b"}},
	}
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

func FuzzStreamersonV1(f *testing.F) {
	f.Add("m", "resp", "dest", `{"a":["1"]}`, "json", "s", `"x"`, "streamerson-go:key", "k")
	f.Add("m", "t", "", "nil", "text", "", "\xff", "streamerson-go:empty", "1")
	f.Add("m", "t", "", "", "json", "", "0", "streamerson-go:deadline", "-5")
	f.Fuzz(func(t *testing.T, id, typ, dest, headers, protocol, source, payload, name, value string) {
		// Anything decodes to a value or a DecodeError.
		entry := slotted(id, typ, dest, headers, protocol, source, v1Unused, payload, name, value)
		opaque := StreamersonV1[[]byte](anyBytes{Bytes()})
		var e, got Envelope
		var d *DecodeError
		if _, err := StreamersonV1(JSON[order]()).Decode(entry, &e); err != nil && !errors.As(err, &d) {
			t.Fatal(err)
		}
		v, err := opaque.Decode(entry, &e)
		if err != nil {
			if !errors.As(err, &d) {
				t.Fatal(err)
			}
			return
		}
		// What was decoded can be written, unless it says that it is JSON and is not; and comes back.
		fields, _, err := opaque.Encode(nil, nil, &e, v)
		if errors.Is(err, ErrNotJSON) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := opaque.Decode(&Entry{Fields: fields}, &got)
		if err != nil || !bytes.Equal(v, again) {
			t.Fatalf("%q, %q, %v", v, again, err)
		}
		if diff := cmp.Diff(e, got, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

// BenchmarkFormats compares the formats: encode and decode of an entry with an envelope, as of a request.
func BenchmarkFormats(b *testing.B) {
	for _, c := range []struct {
		name string
		f    Format[[]byte]
	}{{"native", Native(Bytes())}, {"v1", StreamersonV1(Bytes())}} {
		b.Run(c.name, func(b *testing.B) {
			e := Envelope{
				ID:       "3f48df08-0fa9-4d9c-b367-0e6c27de0421",
				Type:     "hello",
				ReplyTo:  "topic::DEFAULT::PRODUCER_OUTGOING",
				Deadline: time.UnixMilli(1732360000123),
			}
			fields, buf, data := make(Fields, 0, 16), make([]byte, 0, 1024), make([]byte, 100)
			var got Envelope
			b.ReportAllocs()
			for b.Loop() {
				enc, _, err := c.f.Encode(fields, buf, &e, data)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.f.Decode(&Entry{Fields: enc}, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
