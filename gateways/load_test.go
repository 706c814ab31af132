package gateways

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
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
