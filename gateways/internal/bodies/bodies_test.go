package bodies_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/gateways/internal/bodies"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
)

func ask(m *bodies.Memory, n int, length int64) *http.Request {
	r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", n))))
	r.ContentLength = length
	return r.WithContext(bodies.With(context.Background(), m))
}

func status(err error) int {
	var answer problem.Error
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &answer):
		return answer.Status
	}
	return -1
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		n      int
		length int64
		limit  int64
		want   int
	}{
		"a body":                    {9000, 9000, 10_000, 200},
		"of unknown length":         {9000, -1, 10_000, 200},
		"none":                      {0, 0, 10_000, 200},
		"of the limit":              {10_000, -1, 10_000, 200},
		"a byte more":               {10_001, -1, 10_000, 413},
		"long as it says":           {1, 10_001, 10_000, 413},
		"shorter than it says":      {1, 2, 10_000, 400},
		"larger than 3/4 of memory": {49_153, 49_153, 60_000, 413},
	} {
		m := bodies.Of(64 << 10)
		var b bodies.Body
		if got := status(b.Read(httptest.NewRecorder(), ask(m, c.n, c.length), c.limit)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		} else if got == http.StatusOK && len(b.Bytes) != c.n {
			t.Errorf("%s: %d bytes", name, len(b.Bytes))
		}
		b.Release()
		b = bodies.Body{}
		if err := b.Read(httptest.NewRecorder(), ask(m, 30<<10, 30<<10), 30<<10); err != nil {
			t.Errorf("%s keeps memory: %v", name, err)
		}
	}
}

// Large bodies share three quarters of the memory. The rest is for small ones.
func TestMemory(t *testing.T) {
	m := bodies.Of(64 << 10)
	read := func(n int) (*bodies.Body, int) {
		b := new(bodies.Body)
		return b, status(b.Read(httptest.NewRecorder(), ask(m, n, int64(n)), 30<<10))
	}
	first, got := read(30 << 10)
	if got != http.StatusOK {
		t.Fatalf("the first: %d", got)
	}
	second, got := read(30 << 10)
	if got != http.StatusServiceUnavailable {
		t.Errorf("the second: %d, want 503", got)
	}
	second.Release()
	small, got := read(100)
	if got != http.StatusOK {
		t.Errorf("a small one: %d", got)
	}
	first.Release()
	first.Release() // counts once
	if _, got := read(30 << 10); got != http.StatusOK {
		t.Errorf("after the first: %d", got)
	}
	small.Release()
}
