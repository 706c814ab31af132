package examples

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// languages are the programs of examples/languages: how to run one by its name.
var languages = map[string]func(t *testing.T, program string) []string{
	"python": func(_ *testing.T, program string) []string {
		return []string{"/usr/bin/python3", filepath.Join("languages", program+".py")} // Debian's, which has redis-py
	},
	"node": func(t *testing.T, program string) []string {
		return []string{"node", filepath.Join(nodePrograms(t), program+".mjs")}
	},
}

// nodePrograms returns a folder with the programs and their packages, in the versions of the lock
// file. It is made once per machine and version.
func nodePrograms(t *testing.T) string {
	t.Helper()
	dir, err := nodeInstalled()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var nodeInstalled = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	files := make(map[string][]byte)
	for _, name := range []string{"package.json", "package-lock.json", "producer.mjs", "consumer.mjs"} {
		if files[name], err = os.ReadFile(filepath.Join("languages", name)); err != nil {
			return "", err
		}
		sum.Write(files[name])
	}
	dir := filepath.Join(cache, "streamerson-go", "npm", hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// The folder gets its name when it is complete, so a crash or another process leaves no partial
	// one.
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "install-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(tmp, name), text, 0o644); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
		"--fetch-retries=5")
	npm.Dir, npm.WaitDelay = tmp, 10*time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		return "", errors.Join(errors.New("npm ci: "+string(out)), err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
})

// foreigner is a process of a program in another language, or of an example. It is killed at the
// test's end if it still runs.
type foreigner struct {
	cmd   *exec.Cmd
	lines chan string // of its standard output; nil if the test does not read it
	done  chan struct{}
}

// runForeign starts a command. Without reads, its standard output is a pipe without a reader. The
// process then blocks in the middle of its work when it prints more than a pipe holds.
func runForeign(t *testing.T, reads bool, env []string, stdin string, command ...string) *foreigner {
	t.Helper()
	f := &foreigner{cmd: exec.Command(command[0], command[1:]...), done: make(chan struct{})}
	f.cmd.Env, f.cmd.Stderr = append(os.Environ(), env...), os.Stderr
	f.cmd.Stdin = strings.NewReader(stdin)
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	f.cmd.Stdout = to
	if err := f.cmd.Start(); err != nil {
		t.Fatalf("%v: make setup installs what the tests need", err)
	}
	to.Close()
	var waiting sync.WaitGroup
	if reads {
		f.lines = make(chan string, 10_000) // more than any test lets it print
		waiting.Go(func() { f.read(from) })
	}
	waiting.Go(func() {
		_ = f.cmd.Wait() // the test checks the exit status
		close(f.done)
	})
	t.Cleanup(func() {
		_ = f.cmd.Process.Kill()
		waiting.Wait()
		from.Close()
	})
	return f
}

func (f *foreigner) read(from io.Reader) {
	defer close(f.lines)
	in := bufio.NewScanner(from)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		f.lines <- in.Text()
	}
}

// ends sends a signal and returns the exit status.
func (f *foreigner) ends(t *testing.T, sig os.Signal) int {
	t.Helper()
	if err := f.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	select {
	case <-f.done:
	case <-time.After(redistest.Patience):
		t.Fatal("it does not end")
	}
	return f.cmd.ProcessState.ExitCode()
}
