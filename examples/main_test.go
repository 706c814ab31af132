package examples

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// race is set in builds with the race detector. The examples are then built with it, too.
var race bool

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil { // the tests wait for other processes most of the time
		panic(err)
	}
	code := redistest.Main(m, func() error {
		closeBrowser()
		return goleak.Find()
	})
	if dir, err := built(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// built builds the examples once, and returns their folder.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "examples-")
	if err != nil {
		return "", err
	}
	// Without tables for debuggers, linking takes half the time.
	args := []string{"build", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}
	if race {
		args = append(args, "-race")
	}
	mains, err := filepath.Glob("*/main.go")
	if err != nil {
		return dir, err
	}
	for _, main := range mains {
		args = append(args, "."+string(filepath.Separator)+filepath.Dir(main))
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})
