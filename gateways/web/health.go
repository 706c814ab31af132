package web

import (
	"net/http"

	"github.com/streamerson/streamerson-go/gateways/internal/problem"
)

// Healthy answers a liveness probe with 200.
//
//	mux.Handle("GET /healthz", web.Healthy())
func Healthy() http.Handler { return probe(func(*http.Request) error { return nil }) }

// Ready answers a readiness probe with 200 if all checks return nil, and else with 503 and the
// error's text. Running.Ready and Supervisor.Ready of flow are such checks. A check that panics
// fails. Behind Serve, Ready fails as soon as the server starts to stop: see ServerConfig.LameDuck.
// With other servers, add a check of the context that stops them. Errors contain internal details:
// do not expose it publicly.
//
//	mux.Handle("GET /readyz", web.Ready(run.Ready))
//	admin.Handle("GET /readyz", web.Ready(run.Ready, func() error { return context.Cause(ctx) }))
func Ready(checks ...func() error) http.Handler {
	return probe(func(r *http.Request) error {
		if state, ours := r.Context().Value(connectionKey{}).(*connection); ours && state.server.leaving.Load() {
			return ErrStopping
		}
		for _, check := range checks {
			if err := checked(check); err != nil {
				return err
			}
		}
		return nil
	})
}

func checked(check func() error) (err error) {
	defer problem.Caught(&err)
	return check()
}

func probe(check func(*http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		text := "ok"
		if err := check(r); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			text = err.Error()
		}
		_, _ = w.Write([]byte(text + "\n")) // the probe may have disconnected
	})
}
