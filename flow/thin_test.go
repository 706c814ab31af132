package flow

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A client that can send failing messages could fill the log.
func TestFault_S6_RepeatedWarningsAreThinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := Thinned(slog.New(slog.NewTextHandler(&out, nil)).With("graph", "g"))
		for range 1000 {
			l.Warn("message failed", "stage", "a")
			l.Warn("message failed", "stage", "b")
			l.Info("request")
		}
		if n := strings.Count(out.String(), "message failed"); n != 2*thinLines {
			t.Errorf("%d warnings passed, want %d", n, 2*thinLines)
		}
		if n := strings.Count(out.String(), "request"); n != 1000 {
			t.Errorf("%d lines of information passed, want all", n)
		}
		time.Sleep(thinWindow)
		out.Reset()
		l.With("more", 1).Warn("message failed", "stage", "a")
		l.Warn("message failed", "stage", "a")
		if n := strings.Count(out.String(), "suppressed=970"); n != 1 {
			t.Errorf("the number of suppressed lines is told %d times:\n%s", n, out.String())
		}
		if Thinned(l) != l {
			t.Error("thinned twice")
		}
	})
}
