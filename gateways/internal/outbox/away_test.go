package outbox

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamerson/streamerson-go/redisio/writer"
)

// One slow failure does not make Redis unavailable: writes are retried for awayAfter after it.
func TestFault_OneSlowFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed time.Time // first
		o := New(nil, writer.Config{})
		o.Open = func(context.Context) error {
			if failed.IsZero() {
				time.Sleep(2 * awayAfter)
				failed = time.Now()
			}
			return errors.New("connection refused")
		}
		err := o.Write(t.Context(), &Entry{})
		if after := time.Since(failed); !errors.Is(err, ErrUnavailable) || after < awayAfter || after > 5*awayAfter {
			t.Errorf("%v after the first failure: %v", after, err)
		}
		if err := o.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
