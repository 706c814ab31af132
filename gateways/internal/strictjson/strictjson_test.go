package strictjson_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/streamerson/streamerson-go/gateways/internal/strictjson"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		json string
		want *strictjson.Error // nil: valid
	}{
		{`{"a":{"a":1},"b":[{"a":1},{"a":2}]}`, nil},
		{`null`, nil},
		{strings.Repeat("[", 8) + strings.Repeat("]", 8), nil},
		{`"[[[[[[[[[[[[[[["`, nil},
		{strings.Repeat("[", 9) + strings.Repeat("]", 9), &strictjson.Error{Reason: strictjson.TooDeep, Depth: 8}},
		{``, &strictjson.Error{Reason: strictjson.Incomplete}},
		{`{"a":`, &strictjson.Error{Reason: strictjson.Invalid, Offset: 5}},
		{`{"a" 1}`, &strictjson.Error{Reason: strictjson.Invalid, Offset: 5}},
		{`1 2`, &strictjson.Error{Reason: strictjson.Trailing}},
		{`{"a":1,"a":2}`, &strictjson.Error{Reason: strictjson.Duplicate, Offset: 7, Name: "a"}},
		{`[{"kind":1,"k\u0069nd":2}]`, &strictjson.Error{Reason: strictjson.Duplicate, Offset: 11, Name: "kind"}},
		{"\"\xff\"", &strictjson.Error{Reason: strictjson.Invalid, Offset: 1}},
	} {
		err := strictjson.Check([]byte(c.json), 8)
		var got *strictjson.Error
		if errors.As(err, &got) != (c.want != nil) || got != nil && *got != *c.want {
			t.Errorf("%.40q: %#v, want %#v", c.json, got, c.want)
		}
	}
	if err := strictjson.Check([]byte("\"\xff\""), 8, jsontext.AllowInvalidUTF8(true)); err != nil {
		t.Errorf("invalid UTF-8 that is allowed: %v", err)
	}
}

func TestMembers(t *testing.T) {
	var got []string
	each := func(name string, value []byte) error {
		got = append(got, name+"="+string(value))
		return nil
	}
	if err := strictjson.Members([]byte(` {"a": [1, 2], "\u0062":{"c":"d"}} `), each); err != nil {
		t.Error(err)
	}
	if want := []string{"a=[1, 2]", `b={"c":"d"}`}; !slices.Equal(got, want) {
		t.Errorf("members %q, want %q", got, want)
	}
	var wrong *strictjson.Error
	if err := strictjson.Members([]byte(`[1]`), each); !errors.As(err, &wrong) || wrong.Reason != strictjson.NotObject {
		t.Errorf("a list: %v", err)
	}
}
