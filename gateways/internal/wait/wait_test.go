package wait

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !For(t.Context(), time.Second) || time.Since(began) != time.Second {
			t.Errorf("it waited %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if began = time.Now(); For(ctx, time.Minute) || time.Since(began) != time.Second {
			t.Errorf("it waited %v for a context of a second", time.Since(began))
		}
	})
}

func TestBackoff(t *testing.T) {
	b := Backoff(time.Second, 8*time.Second)
	for n := range 10 {
		most := min(time.Second<<n, 8*time.Second)
		if d := b.NextBackOff(); d < most/2 || d > most*3/2 {
			t.Errorf("wait %d is %v", n, d)
		}
	}
}
