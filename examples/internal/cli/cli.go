// Package cli is what the examples that serve pages have in common: how they begin, log and end.
package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/rs/zerolog"

	"github.com/streamerson/streamerson-go/gateways"
)

// Main runs a program until it ends or is interrupted, and exits with 1 when it fails. The second Ctrl-C is not caught: it ends the process
// at once.
func Main(name string, run func(context.Context, *slog.Logger) error) {
	logging.Disable() // go-redis' own, which repeats what our errors say
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	log := console(os.Stderr)
	slog.SetDefault(log) // whatever has no logger of its own writes its warnings here
	if err := run(ctx, log); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// console is a log for people.
func console(f *os.File) *slog.Logger {
	info, err := f.Stat()
	tty := err == nil && info.Mode()&os.ModeCharDevice != 0
	var out io.Writer = zerolog.ConsoleWriter{Out: f, TimeFormat: time.TimeOnly, NoColor: !tty,
		FieldsOrder: []string{"method", "path", "status", "ms", "bytes", "type"}}
	return slog.New(zerolog.NewSlogHandler(zerolog.New(out).Level(zerolog.InfoLevel).With().Timestamp().Logger()))
}

// listen listens on an address, and says what to do when that is taken, and what to open in a browser.
func listen(addr string) (l net.Listener, url string, err error) {
	l, err = gateways.Listen(addr)
	if err != nil {
		return nil, "", fmt.Errorf("%w, as -addr localhost:3009", err)
	}
	host, _, _ := net.SplitHostPort(addr) // it has been listened on
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if host == "" {
		host = "localhost"
	}
	return l, "http://" + net.JoinHostPort(host, port) + "/", nil
}
