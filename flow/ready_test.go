package flow

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type probedReader struct {
	scriptReader
	p *probed
}

type probed struct {
	*script
	err error
}

func (r *probedReader) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.p.err
}

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &probed{script: newScript(1)}
		p.forever = true
		opening := make(chan struct{})
		p.openErr = func() error { p.mu.Unlock(); <-opening; p.mu.Lock(); return nil }
		src := NewSource(
			"probed",
			func() Reader[int] { return &probedReader{scriptReader{script: p.script}, p} },
			Traits{Redelivers: true},
		)
		ctx, cancel := context.WithCancel(t.Context())
		r, err := New("g", To(src, (&bag[int]{}).sink())).Start(ctx)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := r.Ready(); !errors.Is(err, ErrNotReady) || !errors.Is(err, errNotOpen) {
			t.Errorf("before it is open: %v", err)
		}
		close(opening)
		time.Sleep(time.Second)
		if err := r.Ready(); err != nil {
			t.Errorf("while it runs: %v", err)
		}
		gone := errors.New("no answer for a minute")
		p.mu.Lock()
		p.err = gone
		p.mu.Unlock()
		if err := r.Ready(); !errors.Is(err, ErrNotReady) || !errors.Is(err, gone) {
			t.Errorf("without its backend: %v", err)
		}
		cancel()
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		if err := r.Ready(); !errors.Is(err, ErrNotReady) {
			t.Errorf("at the end: %v", err)
		}
	})
}
