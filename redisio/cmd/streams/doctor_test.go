package main

import (
	"context"
	"encoding/json"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// busy is a finding that may tell of a busy host.
var busy = regexp.MustCompile(`(warning|problem) +network/|"check":"network/[a-z]+","severity":"(warning|problem)"`)

// The exit code reports the worst finding, and each finding is one line of JSON.
func TestDoctor(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want int
		text string
	}{
		"healthy":       {[]string{"--appendonly", "yes", "--maxmemory", "200mb"}, exitFine, "0 problems, 0 warnings"},
		"not persisted": {[]string{"--maxmemory", "200mb"}, exitWarnings, "0 problems, 1 warning,"},
		"evicts": {[]string{"--appendonly", "yes", "--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru"},
			exitProblems, "1 problem, 0 warnings,"},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, redistest.Args(c.args...))
			s := &stand{rdb: server.Client(t), url: "redis://127.0.0.1:1", key: "none"}
			examine := func(line string) (all string) {
				t.Helper()
				var code int
				redistest.Soon(t, "the host is not too busy", func() bool {
					var out, errs string
					code, out, errs = s.do(t, line)
					all = out + errs
					return !busy.MatchString(all)
				})
				if code != c.want {
					t.Fatalf("streams %s: exit code %d, want %d\n%s", line, code, c.want, all)
				}
				return all
			}
			if out := examine("doctor -quick " + server.URL()); !strings.Contains(out, c.text) {
				t.Errorf("%s", out)
			}
			out := examine("doctor -quick -json " + server.URL())
			for line := range strings.Lines(strings.TrimSpace(out)) {
				var f struct{ Check, Severity, Text string }
				if !strings.HasPrefix(line, "{") {
					continue // a note on standard error
				}
				if err := json.Unmarshal([]byte(line), &f); err != nil || f.Check == "" || f.Severity == "" ||
					f.Text == "" {
					t.Errorf("%v: %s", err, line)
				}
			}
		})
	}
}

func TestDoctorUsage(t *testing.T) {
	s := newStand(t)
	for _, line := range []string{"doctor a b", "doctor -prefix {x}", "doctor -url redis://a redis://b"} {
		s.want(t, line, exitUsage)
	}
	if out := s.want(t, "doctor redis://127.0.0.1:1 -quick", exitFailed); !strings.Contains(out, "connect to") {
		t.Errorf("%s", out)
	}
}

// A server that accepts connections and never answers ends the doctor in bounded time.
func TestDoctorOfAServerThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newStand(t)
	out := s.want(t, "doctor redis://"+l.Addr().String()+"?read_timeout=200ms", exitFailed)
	if !strings.Contains(out, "timeout") {
		t.Errorf("%s", out)
	}
}

// Ctrl-C ends it within a second or two, and the throw-away keys are gone.
func TestDoctorInterrupted(t *testing.T) {
	server := redistest.Start(t)
	s := &stand{rdb: server.Client(t), url: server.URL(), key: "none"}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for s.rdb.DBSize(t.Context()).Val() == 0 && t.Context().Err() == nil {
		}
		cancel()
	}()
	began := time.Now()
	code, out, errs := s.run(t, ctx, "doctor")
	if code != exitInterrupted || !strings.Contains(errs, "checking promise 1 of") {
		t.Errorf("exit code %d after %v\n%s%s", code, time.Since(began), out, errs)
	}
	if keys := s.rdb.Keys(t.Context(), "*").Val(); len(keys) != 0 {
		t.Errorf("%q are left", keys)
	}
}

// The command does not link package testing.
func TestBinaryHasNoTests(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.Lines(string(out)) {
		if name = strings.TrimSpace(name); name == "testing" || strings.Contains(name, "miniredis") {
			t.Errorf("it links %s", name)
		}
	}
}
