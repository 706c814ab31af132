package flow

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValues(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		src := newScript(100)
		var got []int
		for v, err := range Values(t.Context(), src.source()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, v)
		}
		if d := cmp.Diff(upTo(100), got); d != "" {
			t.Error(d)
		}
		src.wantAllAcked(t)
	})
	t.Run("break", func(t *testing.T) {
		src := newScript(100)
		for v, err := range Values(t.Context(), src.source()) {
			if err != nil {
				t.Fatal(err)
			}
			if v == 10 {
				break
			}
		}
		src.wantOutcomes(t, func(v int) Outcome {
			if v < 10 {
				return Acked
			}
			return Nacked
		})
	})
	t.Run("panic in the loop", func(t *testing.T) {
		src := newScript(100)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			for v := range Values(t.Context(), src.source()) {
				if v == 3 {
					panic("ouch")
				}
			}
		}()
		src.wantOutcomes(t, func(v int) Outcome {
			if v < 3 {
				return Acked
			}
			return Nacked
		})
	})
	t.Run("error", func(t *testing.T) {
		src := newScript(100)
		src.openErr = func() error { return Permanent(errBoom) }
		n := 0
		for _, err := range Values(t.Context(), src.source()) {
			if n++; !errors.Is(err, errBoom) {
				t.Errorf("got %v", err)
			}
		}
		if n != 1 {
			t.Errorf("%d turns", n)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		src := newScript(100)
		src.forever = true
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		for range Values(ctx, src.source()) {
			if n++; n == 100 {
				cancel()
			}
		}
		src.wantAllAcked(t)
	})
}
