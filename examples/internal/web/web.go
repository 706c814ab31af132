// Package web is what the examples that serve a page have in common, so that each shows just what is its own.
package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/ws"
)

// Port is a port that is listened on.
type Port struct {
	net.Listener
	addr string
}

// Listen listens on an address, as localhost:3000.
func Listen(addr string) (Port, error) {
	l, err := gateways.Listen(addr)
	if err != nil {
		return Port{}, fmt.Errorf("%w, as -addr localhost:3009", err)
	}
	return Port{l, addr}, nil
}

// URL is what to open in a browser.
func (p Port) URL() string {
	host, _, _ := net.SplitHostPort(p.addr) // it has been listened on
	_, port, _ := net.SplitHostPort(p.Addr().String())
	if host == "" {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// Serve runs a hub, and serves a site that has it, until ctx is done.
func (p Port) Serve(ctx context.Context, hub *ws.Hub, site http.Handler, log zerolog.Logger) error {
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
		log.Info().Msgf("open %s in a browser; Ctrl-C ends", p.URL())
		return gateways.Serve(ctx, p, secure(site), gateways.ServerConfig{Log: log.Level(zerolog.WarnLevel)})
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

// Console is a log for people.
func Console(f *os.File) zerolog.Logger {
	info, err := f.Stat()
	tty := err == nil && info.Mode()&os.ModeCharDevice != 0
	var out io.Writer = zerolog.ConsoleWriter{Out: f, TimeFormat: time.TimeOnly, NoColor: !tty}
	return zerolog.New(out).Level(zerolog.InfoLevel).With().Timestamp().Logger()
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
