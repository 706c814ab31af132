package redisio_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/streamersonv1"
)

// Content types were compared byte for byte: "application/json; charset=utf-8" was another type
// than "application/json".
func TestFault_D18_ContentTypes(t *testing.T) {
	for _, c := range []struct {
		want, got string
		matches   bool
	}{
		{"application/json", "application/json", true},
		{"application/json", "Application/JSON", true},
		{"application/json", "application/json; charset=utf-8", true},
		{"application/json", "application/json ;charset=\"UTF8\"; v=2", true},
		{"application/json", "application/problem+json", true},
		{"application/json", "text/json", true},
		{"application/json", "application/json; charset=iso-8859-1", false},
		{"application/json", "application/problem+json; charset=utf-16", false},
		{"application/json", "application/jsonp", false},
		{"application/json", "text/plain", false},
		{"application/json", "json", false},
		{"application/json", "", false},
		{"application/vnd.a+json", "application/json", false},
		{"application/vnd.a+json", "application/VND.A+json", true},
		{"text/plain", "text/plain; charset=us-ascii", true},
		{"text/plain", "text/plain; format=flowed", true},
		{"text/plain", "text/plain; charset=latin1", false},
		{"text/plain", "text/html", false},
		{"text/plain; charset=utf-8", "text/plain", true},
		{"application/octet-stream", "application/octet-stream; charset=binary", true},
	} {
		if redisio.ContentTypeMatches(c.want, c.got) != c.matches {
			t.Errorf("want %q, got %q: %t", c.want, c.got, !c.matches)
		}
	}
	for _, ct := range []string{"application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.order+json"} {
		for name, f := range map[string]redisio.Format[rig.Order]{"native": redisio.Native(redisio.JSON[rig.Order]()),
			"v1": streamersonv1.Format(redisio.JSON[rig.Order]())} {
			fields, _, err := f.Encode(
				nil,
				nil,
				&redisio.Envelope{ID: "m-1", ContentType: ct},
				rig.Order{ID: "o-1", Total: 9.5},
			)
			if err != nil {
				t.Fatal(err)
			}
			var e redisio.Envelope
			got, err := f.Decode(&redisio.Entry{ID: "1-0", Fields: fields}, &e)
			if err != nil || got.ID != "o-1" {
				t.Errorf("%s, %q: %+v, %v", name, ct, got, err)
			}
		}
	}
	for name, f := range map[string]redisio.Format[rig.Order]{"native": redisio.Native(redisio.JSON[rig.Order]()),
		"v1": streamersonv1.Format(redisio.JSON[rig.Order]())} {
		fields, _, err := map[string]redisio.Format[string]{"native": redisio.Native(redisio.String()),
			"v1": streamersonv1.Format(redisio.String())}[name].Encode(nil, nil,
			&redisio.Envelope{ID: "m-1", ContentType: "text/csv"}, "{}")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Decode(&redisio.Entry{ID: "1-0", Fields: fields}, &redisio.Envelope{}); !errors.Is(
			err,
			redisio.ErrContentType,
		) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ExampleContentTypeMatches() {
	fmt.Println(redisio.ContentTypeMatches("application/json", "Application/Problem+JSON; charset=utf-8"))
	fmt.Println(redisio.ContentTypeMatches("application/json", "text/csv"))
	// Output:
	// true
	// false
}
