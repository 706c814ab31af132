package relay

import (
	"errors"
	"testing"
)

// A cursor is untrusted input of a client. It is never sent to Redis unchanged.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "0", "0-0", "1732360000000-0", "1-", "-", "$", "+", "1732360000000",
		"18446744073709551615-18446744073709551615", "１-0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCursor(s)
		if err != nil {
			var bad *CursorError
			if !errors.As(err, &bad) || bad.Cursor != s {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if c.exact {
			again, err := parseCursor(c.id.String())
			if err != nil || again != c {
				t.Errorf("%q is %+v, and %q is %+v, %v", s, c, c.id, again, err)
			}
		}
		if len(s) > maxCursor {
			t.Errorf("%d bytes are a cursor", len(s))
		}
	})
}
