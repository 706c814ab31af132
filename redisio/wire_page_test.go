package redisio_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/internal/rig"
)

// wireTable returns the first column of the first table in a section of WIRE.md.
func wireTable(t *testing.T, section string) (names []string) {
	t.Helper()
	page, err := os.ReadFile("WIRE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "\n## "+section+"\n")
	if !found {
		t.Fatalf("WIRE.md has no section %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ = strings.Cut(name, "`")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func names(all redisio.Fields) (names []string) {
	for _, f := range all {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// The tables of WIRE.md name the fields that the code writes, no more and no less.
func TestWirePage(t *testing.T) {
	t.Parallel()
	full := rig.Full()
	full.Headers = []redisio.Header{{Name: "<name>", Value: "v"}}
	var all redisio.Fields
	for _, e := range []redisio.Envelope{full, {Limit: time.Second}} {
		f, _, err := redisio.Native(redisio.JSON[rig.Order]()).Encode(nil, nil, &e, rig.Order{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f...)
	}
	if diff := cmp.Diff(names(all), wireTable(t, "Fields")); diff != "" {
		t.Errorf("fields of an entry (-code +page):\n%s", diff)
	}
	reason := dead.Reason{
		Error: "e", Causes: []string{"c"}, Stack: "s", Graph: "g", Stage: "s", Attempts: 1, ID: "1-0", Key: "k",
		Group: "g", Time: time.Now(),
	}
	letter := append(reason.Fields(), redisio.Field{Name: "dead:replayed"}) // test of KeepReason writes it
	if diff := cmp.Diff(names(letter), wireTable(t, "Dead letters")); diff != "" {
		t.Errorf("fields of a dead letter (-code +page):\n%s", diff)
	}
}

// The content types of WIRE.md are those of the codecs.
func TestWirePageContentTypes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("WIRE.md")
	if err != nil {
		t.Fatal(err)
	}
	for text, typ := range map[string]string{
		"JSON is `%`":      redisio.JSON[rig.Order]().ContentType(),
		"strings are `%`":  redisio.String().ContentType(),
		"bytes are\n  `%`": redisio.Bytes().ContentType(),
	} {
		if want := strings.Replace(text, "%", typ, 1); !strings.Contains(string(page), want) {
			t.Errorf("WIRE.md does not say %q", want)
		}
	}
	for typ, ok := range map[string]bool{
		"text/json": true, "application/problem+json": true, "application/json; charset=utf-8": true,
		"application/json; charset=latin1": false, "image/png": false,
	} {
		if got := redisio.ContentTypeMatches("application/json", typ); got != ok {
			t.Errorf("a reader of JSON takes %s: %v", typ, got)
		}
	}
}
