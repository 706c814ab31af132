package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
)

type paging struct {
	Limit int `json:"limit" query:"limit" default:"20"`
}

// order has a field of each kind.
type order struct {
	paging
	ID     string        `json:"id" path:"id"`
	Tags   []string      `json:"tags" query:"tag"`
	Since  time.Time     `json:"since" query:"since"`
	For    time.Duration `json:"for" query:"for"`
	Price  float64       `json:"price" query:"price"`
	Small  int8          `json:"small" query:"small"`
	Count  uint          `json:"count" query:"count"`
	Full   *bool         `json:"full" query:"full"`
	Tenant string        `json:"tenant" header:"x-tenant,required"`
	User   string        `json:"user" identity:"true"`
	Title  string        `json:"title"`
	Nested struct {
		N int `json:"n"`
	} `json:"nested"`
}

func (o *order) Validate() error {
	switch o.Title {
	case "odd":
		return &gateways.FieldError{Field: "title", Problem: "must not be odd"}
	case "bad":
		return errors.New("a bad title")
	case "taken":
		return gateways.Errorf(gateways.CodeConflict, "there is one already")
	}
	return nil
}

// orders is a route that echoes its bound value.
func orders(t *testing.T) (*rig.Edge, http.Handler) {
	e := rig.NewEdge(t)
	e.Mux.Handle(
		"/orders/{id}",
		web.Route[order](
			e.Client,
			"echo",
			web.Authenticate(
				func(*http.Request) (gateways.Identity, error) { return gateways.Identity{User: "ada"}, nil },
			),
			gateways.Keyed(func(o order) string { return o.ID }),
		),
	)
	return e, e.Mux
}

func TestRouteBinds(t *testing.T) {
	t.Parallel()
	e, h := orders(t)
	yes := true
	want := order{
		ID:     "a/b",
		Tags:   []string{"x", "y"},
		Since:  time.Date(2026, 1, 31, 15, 4, 5, 0, time.UTC),
		For:    90 * time.Second,
		Price:  -1.5,
		Small:  -128,
		Count:  3,
		Full:   &yes,
		Tenant: "blue",
		User:   "ada",
		Title:  "t",
	}
	want.Limit, want.Nested.N = 7, 5
	target := "/orders/a%2Fb?tag=x&tag=y&since=2026-01-31T15:04:05Z&for=1m30s" +
		"&price=-1.5&small=-128&count=3&full=true&limit=7&unknown=1"
	got := rig.Ask(h, rig.Asked("PUT", target, `{"title":"t","nested":{"n":5},"unknown":1}`, "X-Tenant: blue"))
	var bound order
	if err := json.Unmarshal([]byte(got.Body), &bound); err != nil || got.Status != http.StatusOK {
		t.Fatalf("%+v: %v", got, err)
	}
	if diff := cmp.Diff(want, bound, cmp.AllowUnexported(order{})); diff != "" {
		t.Errorf("bound (-want +got):\n%s", diff)
	}
	r, _ := e.Request()
	if r.Key != "a/b" || e.Header("http-path-id") != "a/b" || e.Header("identity") != "ada" {
		t.Errorf("%+v", r)
	}
	got = rig.Ask(h, rig.Asked("GET", "/orders/1", "", "X-Tenant: blue"))
	bound = order{}
	if err := json.Unmarshal([]byte(got.Body), &bound); err != nil || bound.Limit != 20 || bound.Full != nil {
		t.Errorf("with defaults: %+v: %v", got, err)
	}
}

func TestRouteRefuses(t *testing.T) {
	t.Parallel()
	e, h := orders(t)
	for name, c := range map[string]struct {
		target, body string
		field        string
		message      string
	}{
		"a number":           {"/orders/1?limit=many", "", "limit", `the query's "limit" must be a 64-bit integer`},
		"a small number":     {"/orders/1?small=128", "", "small", `the query's "small" must be a 8-bit integer`},
		"a negative one":     {"/orders/1?count=-1", "", "count", `the query's "count" must be a 64-bit integer, not negative`},
		"no number":          {"/orders/1?price=NaN", "", "price", `the query's "price" must be a number`},
		"a time":             {"/orders/1?since=today", "", "since", `the query's "since" must be a time like 2026-01-31T15:04:05Z`},
		"a duration":         {"/orders/1?for=long", "", "for", `the query's "for" must be a duration like 1m30s`},
		"a bool":             {"/orders/1?full=2", "", "full", `the query's "full" must be true or false`},
		"twice":              {"/orders/1?limit=1&limit=2", "", "limit", `the query's "limit" must not be repeated`},
		"a query":            {"/orders/1?limit=%zz", "", "", "invalid query: write a=1&b=2, percent-encoded"},
		"a body's type":      {"/orders/1", `{"nested":{"n":"x"}}`, "nested.n", `"nested.n" must be a 64-bit integer, not string`},
		"a body's shape":     {"/orders/1", `[]`, "", "the body must be a JSON object"},
		"what Validate says": {"/orders/1", `{"title":"odd"}`, "title", "title must not be odd"},
		"in plain words":     {"/orders/1", `{"title":"bad"}`, "", "a bad title"},
	} {
		t.Run(name, func(t *testing.T) {
			got := rig.Ask(h, rig.Asked("PUT", c.target, c.body, "X-Tenant: blue"))
			want := problem.Detail{Code: gateways.CodeInvalid, Message: c.message, Field: c.field}
			if diff := cmp.Diff(want, got.Failure(t)); diff != "" || got.Status != http.StatusBadRequest {
				t.Errorf("%d (-want +got):\n%s", got.Status, diff)
			}
		})
	}
	if got := rig.Ask(h, rig.Asked("GET", "/orders/1", "")); got.Status != 400 || got.Failure(t).Field != "X-Tenant" {
		t.Errorf("without the header: %+v", got)
	}
	if got := rig.Ask(h, rig.Asked("PUT", "/orders/1", `{"title":"taken"}`, "X-Tenant: blue")); got.Status != 409 {
		t.Errorf("a code of Validate's: %+v", got)
	}
	if _, n := e.Request(); n != 0 || e.RDB.XLen(context.Background(), e.Topic).Val() != 0 {
		t.Errorf("%d of these were sent", n)
	}
}

// If the pattern lacks the path value that a field needs, the route answers with 500.
func TestRouteOfAnotherPattern(t *testing.T) {
	t.Parallel()
	e := rig.NewEdge(t)
	e.Mux.Handle("/orders", web.Route[order](e.Client, "echo"))
	if got := rig.Ask(e.Mux, rig.Asked("GET", "/orders", "", "X-Tenant: blue")); got.Status != 500 {
		t.Errorf("%+v", got)
	}
}
