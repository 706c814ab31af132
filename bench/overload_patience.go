package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/web"
)

// patience is a way to make requests that tolerates refusals.
type patience struct {
	do  func(context.Context, int) (outcome, error)
	end func() error
}

// patient makes requests through several clients in turn.
func patient(ctx context.Context, t *Trial, clients int) (patience, error) {
	run, err := overloadService(ctx, t)
	if err != nil {
		return patience{}, err
	}
	all := make([]*gateways.Client, clients)
	asks := make([]func(context.Context, string) (string, error), clients)
	for i := range all {
		all[i] = gateways.NewClient(t.Redis, t.In, gateways.ClientConfig{})
		asks[i] = gateways.Call[string, string](all[i], "slow")
	}
	v := payloadsOf(t.Payload)
	return patience{
		do: func(ctx context.Context, i int) (outcome, error) {
			want := string(v.at(i))
			got, err := asks[i%clients](ctx, want)
			var over *gateways.OverloadError
			switch {
			case err == nil:
				err = compareText(got, want)
			case errors.As(err, &over) && over.RetryAfter > 0:
				return refused, nil
			}
			if err != nil {
				return failed, err
			}
			return answered, nil
		},
		end: func() error { return endOf(ctx, run, all...) },
	}, nil
}

// patientHTTP makes requests over HTTP, with as many connections as needed.
func patientHTTP(ctx context.Context, t *Trial) (patience, error) {
	run, err := overloadService(ctx, t)
	if err != nil {
		return patience{}, err
	}
	client := gateways.NewClient(t.Redis, t.In, gateways.ClientConfig{Timeout: handPatience})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return patience{}, errors.Join(err, endOf(ctx, run, client))
	}
	mux := http.NewServeMux()
	mux.Handle("POST /", web.HTTP(client, "slow"))
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- serveGateways(serving, l, mux) }() // end waits for it
	b := &browsers{addr: l.Addr().String()}
	v := payloadsOf(t.Payload)
	return patience{
		do: func(_ context.Context, i int) (outcome, error) {
			want := []byte(`"` + string(v.at(i)) + `"`)
			got, err := b.exchange(want)
			switch {
			case err != nil:
				return failed, err
			case got.status == http.StatusServiceUnavailable && got.retryAfter != "":
				return refused, nil
			case got.status != http.StatusOK:
				return failed, fmt.Errorf("answered %d: %.200q", got.status, got.body)
			}
			if err := compareText(string(got.body), string(want)); err != nil {
				return failed, err
			}
			return answered, nil
		},
		end: func() error {
			b.hangUp()
			stop()
			return errors.Join(<-done, endOf(ctx, run, client))
		},
	}, nil
}

// browsers is a pool of at most mostBrowsers connections, of which one is always free.
type browsers struct {
	addr string

	mu   sync.Mutex
	free []browser
	all  []net.Conn
}

const mostBrowsers = 4096

func (b *browsers) exchange(body []byte) (page, error) {
	k, err := b.take()
	if err != nil {
		return page{}, err
	}
	got, err := k.exchange(body)
	if err != nil { // the connection is unusable
		_ = k.Close()
		return got, err
	}
	b.mu.Lock()
	b.free = append(b.free, k)
	b.mu.Unlock()
	return got, nil
}

func (b *browsers) take() (browser, error) {
	b.mu.Lock()
	if last := len(b.free) - 1; last >= 0 {
		k := b.free[last]
		b.free = b.free[:last]
		b.mu.Unlock()
		return k, nil
	}
	many := len(b.all)
	b.mu.Unlock()
	if many >= mostBrowsers {
		return browser{}, fmt.Errorf("%d requests wait for an answer, which exceeds the limit", many)
	}
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		return browser{}, err
	}
	b.mu.Lock()
	b.all = append(b.all, c)
	b.mu.Unlock()
	return browser{c, bufio.NewReader(c)}, nil
}

func (b *browsers) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.all {
		_ = c.Close()
	}
}
