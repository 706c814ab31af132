package problem

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/gateways"
)

// Retry-After is the delay of the error in whole seconds, and at least one.
func TestRetryAfterIsOfTheError(t *testing.T) {
	for after, want := range map[time.Duration]string{100 * time.Millisecond: "1", time.Second: "1",
		2100 * time.Millisecond: "3", 30 * time.Second: "30"} {
		w := httptest.NewRecorder()
		Of(&gateways.OverloadError{Wait: time.Minute, RetryAfter: after}).Write(w)
		if got := w.Header().Get("Retry-After"); w.Code != 503 || got != want {
			t.Errorf("%v: %d, Retry-After %q, want %s", after, w.Code, got, want)
		}
	}
}
