// Package web is what the examples with sockets have in common, beside package cli.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/ws"
)

// Serve runs a hub, and serves a site that has it, until ctx is done. The URL is what to open in a browser.
func Serve(ctx context.Context, l net.Listener, url string, hub *ws.Hub, site http.Handler, log *slog.Logger) error {
	return Together(ctx, hub.Run, func(ctx context.Context) error {
		again := time.NewTicker(10 * time.Millisecond)
		defer again.Stop()
		for hub.Ready() != nil { // pages that came now would be sent away
			select {
			case <-again.C:
			case <-ctx.Done():
				return nil
			}
		}
		log.Info("open " + url + " in a browser; Ctrl-C ends")
		return gateways.Serve(ctx, l, secure(site), gateways.ServerConfig{})
	})
}

// secure has browsers run nothing but what is served here, and say nothing to anybody else.
func secure(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-cache")
		h.ServeHTTP(w, r)
	})
}

// Together runs functions side by side. When one of them ends, so do the others.
func Together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for i, part := range parts {
		all.Go(func() {
			defer cancel()
			errs[i] = part(ctx)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
