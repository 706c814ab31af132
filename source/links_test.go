package source_test

import (
	"os/exec"
	"strings"
	"testing"
)

// A program that uses pipelines links no crontab parser, no go-streams and no part of the gateways.
func TestFault_S9_PipelinesLinkNoBridges(t *testing.T) {
	const module = "github.com/streamerson/streamerson-go/"
	args := []string{"list", "-deps"}
	for _, p := range []string{"flow", "source", "sink", "operators", "redisio"} {
		args = append(args, module+p)
	}
	out, err := exec.CommandContext(t.Context(), "go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := string(out)
	if !strings.Contains(deps, module+"redisio\n") {
		t.Fatalf("these are not the packages:\n%s", deps)
	}
	for _, p := range []string{"robfig/cron", "reugn/go-streams", "miniredis", "golang-lru", "coder/websocket", module +
		"gateways", "net/http\n"} {
		if strings.Contains(deps, p) {
			t.Errorf("a program of pipelines links %s", strings.TrimSpace(p))
		}
	}
}
