package flow

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A graph without a logger writes its warnings to stderr, and nothing below them.
func TestFault_O1_WarningsGoToStderr(t *testing.T) {
	run := func() {
		src := newScript(1).source()
		refused := Transform(src, "map", func() func(context.Context, int) (int, error) {
			return func(context.Context, int) (int, error) { return 0, Reject(errors.New("no such customer")) }
		})
		if err := New("orders", To(refused, (&bag[int]{}).sink())).Run(context.Background()); err == nil {
			t.Log("the graph ended")
		}
	}
	if os.Getenv("STREAMERSON_TEST_O1") != "" {
		run()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFault_O1_WarningsGoToStderr$")
	cmd.Env = append(os.Environ(), "STREAMERSON_TEST_O1=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	for _, want := range []string{"WARN message failed", "graph=orders", "no such customer"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q on stderr:\n%s", want, &stderr)
		}
	}
	if strings.Contains(stderr.String(), "INFO") {
		t.Errorf("more than warnings on stderr:\n%s", &stderr)
	}
}

// The handler behind the default logger keeps attributes and groups.
func TestFault_O1_DefaultKeepsAttributes(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(warnings{slog.NewTextHandler(&out, nil)}).With("graph", "g").WithGroup("of")
	l.Info("quiet")
	l.Warn("loud", "stage", "s")
	if got := out.String(); !strings.Contains(got, "level=WARN msg=loud graph=g of.stage=s") ||
		strings.Contains(got, "quiet") {
		t.Errorf("got %q", got)
	}
}
