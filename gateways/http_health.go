package gateways

import (
	"net/http"
)

// Healthy answers a liveness probe: the process runs.
//
//	mux.Handle("GET /healthz", gateways.Healthy())
func Healthy() http.Handler { return Ready() }

// Ready answers a readiness probe: 200 while all checks return nil, as those of flow's Running.Ready and Supervisor.Ready do when
// everything does what it is there for, and else 503, with what is wrong as text. It is for those who run the program: leave it off
// addresses that the world can reach.
//
//	mux.Handle("GET /readyz", gateways.Ready(run.Ready))
func Ready(checks ...func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for _, check := range checks {
			if err := check(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = w.Write([]byte(err.Error() + "\n")) // the probe may have gone
				return
			}
		}
		_, _ = w.Write([]byte("ok\n"))
	})
}
