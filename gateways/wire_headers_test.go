package gateways

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table of redisio/WIRE.md names the reserved headers, no more and no less.
func TestWirePageHeaders(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../redisio/WIRE.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(page)) {
		if name, ok := strings.CutPrefix(line, "| `h:"); ok && strings.HasPrefix(name, ":") {
			name, _, _ = strings.Cut(name, "`")
			got = append(got, name)
		}
	}
	want := []string{headerWindow, headerHanded, headerCode, headerStatus, headerRun, headerSeq, headerWait}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-code +page:\n%s", diff)
	}
}
