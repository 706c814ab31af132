package gateways

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := load{most: 250 * time.Millisecond}
		at := func(lag, taken int64) {
			l.saw(time.Now(), lag, taken)
		}
		wants := func(what string, until time.Time, refused bool) {
			t.Helper()
			err := l.admit(until)
			var overload *OverloadError
			if is := errors.As(err, &overload); is != refused || is && (!errors.Is(err, ErrOverloaded) || overload.RetryAfter < leastWait) {
				t.Errorf("%s: %v", what, err)
			}
		}
		wants("at the beginning", time.Time{}, false)
		at(5000, 1000)
		wants("a lag seen once", time.Time{}, false)
		time.Sleep(100 * time.Millisecond)
		at(5000, 2000) // 10,000 a second
		wants("half a second, and none was let in lately", time.Time{}, false)
		wants("half a second", time.Time{}, true)
		time.Sleep(100 * time.Millisecond)
		at(1000, 3000)
		wants("100 ms", time.Time{}, false)
		wants("100 ms, and a deadline before", time.Now().Add(50*time.Millisecond), true)
		for range 1499 { // one was let in above
			wants("its own requests", time.Time{}, false)
		}
		time.Sleep(time.Millisecond)
		for range 11 {
			_ = l.admit(time.Time{})
		}
		wants("too many of its own", time.Time{}, true)
		time.Sleep(loadStale + time.Millisecond)
		wants("a look that is stale", time.Time{}, false)
		at(5000, 4000)
		for range 25 {
			time.Sleep(100 * time.Millisecond)
			at(5000, 4000)
		}
		wants("nobody takes anything", time.Time{}, false)
		at(0, 9000)
		at(-1, 9000)
		wants("no lag", time.Time{}, false)
	})
}

// What was seen before or during an outage refuses nothing after it.
func TestLoadForgetsOutages(t *testing.T) {
	down := redis.NewClient(&redis.Options{MaxRetries: -1, DialerRetries: 1, Dialer: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("down")
	}})
	t.Cleanup(func() { _ = down.Close() })
	synctest.Test(t, func(t *testing.T) {
		l := load{rdb: down, most: 250 * time.Millisecond}
		taken := int64(0)
		slow := func() { // 100 a second, and 1000 to go
			for range 2 {
				l.saw(time.Now(), 1000, taken)
				time.Sleep(loadEvery)
				taken += 10
			}
			_ = l.admit(time.Time{}) // one goes through
			if err := l.admit(time.Time{}); !errors.Is(err, ErrOverloaded) {
				t.Fatalf("ten seconds to wait: %v", err)
			}
		}
		admits := func(what string) {
			t.Helper()
			for range 2 {
				if err := l.admit(time.Time{}); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		slow()
		if err := l.look(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		admits("a look that failed")
		slow()
		for range 11 { // nothing is taken
			l.saw(time.Now(), 2000, taken)
			time.Sleep(loadEvery)
		}
		l.saw(time.Now(), 2000, taken+1)
		admits("services that came back")
		time.Sleep(loadEvery)
		taken += 1000
		l.saw(time.Now(), 1000, taken)
		admits("services at their old rate")
	})
}

// Retry-After is the time of the error, in whole seconds, and one at the least.
func TestRetryAfterIsOfTheError(t *testing.T) {
	for after, want := range map[time.Duration]string{leastWait: "1", time.Second: "1", 2100 * time.Millisecond: "3", mostWait: "30"} {
		w := httptest.NewRecorder()
		refusalOf(&OverloadError{Wait: time.Minute, RetryAfter: after}).write(w)
		if got := w.Header().Get("Retry-After"); w.Code != 503 || got != want {
			t.Errorf("%v: %d, Retry-After %q, want %s", after, w.Code, got, want)
		}
	}
}
