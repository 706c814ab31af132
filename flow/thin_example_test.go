package flow_test

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/streamerson/streamerson-go/flow"
)

func ExampleThinned() {
	var out strings.Builder
	log := flow.Thinned(slog.New(slog.NewTextHandler(&out, nil)))
	for range 1000 {
		log.Warn("request refused")
	}
	fmt.Fprintln(os.Stdout, strings.Count(out.String(), "request refused"), "lines")
	// Output: 30 lines
}
