package web_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Tests named after defects in the gateway of streamerson for Node; see defects_list_test.go of
// package source.

// httpEdge has routes to a service.
func httpEdge(
	t testing.TB,
	w rig.Wired,
	register func(*gateways.Service),
	routes func(*http.ServeMux, *gateways.Client),
) http.Handler {
	w.Serve(t, gateways.ServiceConfig{}, register)
	mux := http.NewServeMux()
	routes(mux, w.Client(t))
	return mux
}

// The gateway's hello world was answered with 500 after three seconds.
func TestD1_HelloOverHTTP(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		mux := httpEdge(t, w, func(svc *gateways.Service) {
			gateways.Handle(svc, "helloWorldEvent", func(context.Context, map[string]any) (map[string]string, error) {
				return map[string]string{"ok": "received message!"}, nil
			})
		}, func(mux *http.ServeMux, c *gateways.Client) { mux.Handle("GET /", web.HTTP(c, "helloWorldEvent")) })
		if got := rig.Ask(mux, rig.Asked("GET", "/", "")); got.Status != 200 || got.Body != `{"ok":"received message!"}` {
			t.Errorf("%+v", got)
		}
	})
}

// Errors of the worker reached the caller as a timeout, and therefore as 500.
func TestD4_ErrorsOverHTTP(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		mux := httpEdge(t, w, func(svc *gateways.Service) {
			gateways.Handle(svc, "hello", rig.Greet)
			gateways.HandleVoid(svc, "void", func(context.Context, map[string]any) error { return nil })
		}, func(mux *http.ServeMux, c *gateways.Client) {
			mux.Handle("POST /hello", web.HTTP(c, "hello"))
			mux.Handle("POST /void", web.HTTP(c, "void"))
			mux.Handle("POST /unknown", web.HTTP(c, "unknown"))
		})
		for _, c := range []struct {
			path, body string
			status     int
		}{
			{"/hello", `{"Name":"Ada"}`, 200},
			{"/hello", `{"Name":""}`, 400},
			{"/hello", `{"Name":"secret"}`, 500},
			{"/void", `{}`, 204},
			{"/unknown", `{}`, 501},
			{"/hello", `{"Name":"Ada"}`, 200},
		} {
			if got := rig.Ask(mux, rig.Asked("POST", c.path, c.body)); got.Status != c.status ||
				strings.Contains(got.Body, "1234") {
				t.Errorf("%s %s: %+v, want %d", c.path, c.body, got, c.status)
			}
		}
	})
}

// The first requests to routes were lost: one of two, or two of four.
func TestD11_FirstRequestsOverHTTP(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		mux := httpEdge(t, w, func(svc *gateways.Service) {
			for i := range 4 {
				gateways.Handle(
					svc,
					fmt.Sprint("route-", i),
					func(context.Context, map[string]any) (int, error) { return i + 1, nil },
				)
			}
		}, func(mux *http.ServeMux, c *gateways.Client) {
			for i := range 4 {
				mux.Handle(fmt.Sprint("GET /", i), web.HTTP(c, fmt.Sprint("route-", i)))
			}
		})
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if got := rig.Ask(mux, rig.Asked("GET", fmt.Sprint("/", i), "")); got.Status != 200 ||
					got.Body != fmt.Sprint(i+1) {
					t.Errorf("route %d: %+v", i, got)
				}
			})
		}
		wg.Wait()
	})
}

// Timed-out requests were kept forever. This gateway answers them with 504 after the route's
// timeout, and drops them.
func TestD20_TimeoutsOverHTTP(t *testing.T) {
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		c := w.Unsure(t).Client(t, gateways.ClientConfig{Wire: w.Wire, MaxInFlight: 2})
		mux := http.NewServeMux()
		mux.Handle("GET /", web.HTTP(c, "nobody is there", gateways.Timeout(200*time.Millisecond)))
		for range 6 {
			redistest.Soon(t, "an answer of 504", func() bool {
				got := rig.Ask(mux, rig.Asked("GET", "/", ""))
				unsent := got.Status == http.StatusServiceUnavailable && got.Failure(t).Code == gateways.CodeUnavailable
				if got.Status != http.StatusGatewayTimeout && !unsent { // the gateway was not connected in time
					t.Fatalf("%+v", got)
				}
				return !unsent
			})
		}
	})
}

// The gateway logged whole payloads.
func TestD28_GatewaysLogNoPayloads(t *testing.T) {
	t.Parallel()
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		const secret = "4111-1111-1111-1111"
		var log rig.LockedBuffer
		logger := slog.New(zerolog.NewSlogHandler(zerolog.New(&log).Level(zerolog.TraceLevel)))
		mux := httpEdge(t, w, func(svc *gateways.Service) {
			gateways.Handle(svc, "hello", rig.Greet)
			gateways.HandleVoid(
				svc,
				"fails",
				func(context.Context, map[string]any) error { return errors.New("the reason") },
			)
			svc.HandleFunc("nonsense", func(context.Context, *gateways.Request) (gateways.Response, error) {
				return gateways.Response{Status: 42, Body: []byte(`"` + secret + `"`)}, nil
			})
		}, func(mux *http.ServeMux, c *gateways.Client) {
			for _, typ := range []string{"hello", "fails", "nonsense"} {
				mux.Handle("POST /"+typ, web.HTTP(c, typ, web.Log(logger)))
			}
		})
		for path, want := range map[string]int{"/hello": 200, "/fails": 500, "/nonsense": 502} {
			if got := rig.Ask(mux, rig.Asked("POST", path, `{"Name":"`+secret+`"}`)); got.Status != want {
				t.Errorf("%s: %+v", path, got)
			}
		}
		if text := log.String(); strings.Contains(text, secret) || !strings.Contains(text, "invalid reply") {
			t.Errorf("log:\n%s", text)
		}
	})
}
