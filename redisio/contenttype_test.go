package redisio

import (
	"errors"
	"fmt"
	"testing"
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
		if ContentTypeMatches(c.want, c.got) != c.matches {
			t.Errorf("want %q, got %q: %t", c.want, c.got, !c.matches)
		}
	}
	for _, ct := range []string{"application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.order+json"} {
		for name, f := range map[string]Format[order]{"native": Native(JSON[order]()),
			"v1": StreamersonV1(JSON[order]())} {
			fields, _, err := f.Encode(nil, nil, &Envelope{ID: "m-1", ContentType: ct}, order{"o-1", 9.5})
			if err != nil {
				t.Fatal(err)
			}
			var e Envelope
			got, err := f.Decode(&Entry{ID: "1-0", Fields: fields}, &e)
			if err != nil || got.ID != "o-1" {
				t.Errorf("%s, %q: %+v, %v", name, ct, got, err)
			}
		}
	}
	for name, f := range map[string]Format[order]{"native": Native(JSON[order]()), "v1": StreamersonV1(JSON[order]())} {
		fields, _, err := map[string]Format[string]{"native": Native(String()),
			"v1": StreamersonV1(String())}[name].Encode(nil, nil,
			&Envelope{ID: "m-1", ContentType: "text/csv"}, "{}")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Decode(&Entry{ID: "1-0", Fields: fields}, &Envelope{}); !errors.Is(err, ErrContentType) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ExampleContentTypeMatches() {
	fmt.Println(ContentTypeMatches("application/json", "Application/Problem+JSON; charset=utf-8"))
	fmt.Println(ContentTypeMatches("application/json", "text/csv"))
	// Output:
	// true
	// false
}
