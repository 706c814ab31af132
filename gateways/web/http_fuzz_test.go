package web

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/plan"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/redisio"
)

// FuzzHTTPRequest checks what requests are made of HTTP requests: unless it is refused, the body is
// one JSON value, with the id of the path.
func FuzzHTTPRequest(f *testing.F) {
	f.Add("42", "limit=3&tag=a&tag=b", `{"title":"x"}`)
	f.Add("a/b", "", "")
	f.Add("\x00", "id=1", ` {"ID":1}`)
	f.Add("é", "%ff=%zz;", `{"\u0069d":1,"a":[[]]}`)
	e := HTTP(&gateways.Client{}, "fuzz")
	p := plan.Of[[]byte, gateways.CallOption]("fuzz", nil)
	m := redisio.MistakesOf("Route")
	typed := binderOf[fuzzed](m)
	if err := m.Err(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, query, body string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.URL = &url.URL{Path: "/", RawQuery: query}
		r.Pattern = "/{id}"
		r.SetPathValue("id", id)
		r.Header.Set("Content-Type", jsonType)
		in := incoming{http: r, id: "r-1", names: []string{"id"}}
		if err := e.cfg.read(httptest.NewRecorder(), &in); err != nil {
			mustRefuse(t, err)
			return
		}
		request, err := generic(&p, &in, false)
		if err != nil {
			mustRefuse(t, err)
		} else {
			sameID(t, request.Body, id)
		}
		q, err := bind[fuzzed](typed, &in)
		if err != nil {
			mustRefuse(t, err)
			return
		}
		if q.ID != id {
			t.Errorf("bound %q for the path's %q", q.ID, id)
		}
		if values, err := url.ParseQuery(query); err != nil || len(values["limit"]) > 1 {
			t.Errorf("query %q was taken: %v", query, err)
		}
	})
}

type fuzzed struct {
	ID    string `json:"id" path:"id"`
	Limit int    `json:"limit" query:"limit"`
	Title string `json:"title"`
}

func mustRefuse(t *testing.T, err error) {
	if r := problem.Of(err); r.Status < 400 || r.Status > 499 || r.Message == "" || !utf8.ValidString(r.Message) {
		t.Errorf("%+v of %v", r, err)
	}
}

func sameID(t *testing.T, body []byte, id string) {
	var got struct{ ID *string }
	if err := json.Unmarshal(body, &got); err != nil || got.ID == nil || *got.ID != id {
		t.Errorf("%q is of the path's %q: %v", body, id, err)
	}
}

// BenchmarkCheckJSON measures the check for hostile JSON, with a body of 100 B.
func BenchmarkCheckJSON(b *testing.B) {
	body := []byte(
		`{"customer":"c-1042","items":[{"sku":"a-17","n":2},{"sku":"b-3","n":1}],"note":"please ring twice, ok"}`,
	)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := checkJSON(body); err != nil {
			b.Fatal(err)
		}
	}
}
