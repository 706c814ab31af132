package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/examples/internal/cli"
)

// options are the flags of the command line.
type options struct {
	in, out string
	size    size
	check   bool
	workers int
	ranges  int
	chunk   size
	lease   time.Duration

	role  string
	name  string // prefix of the keys
	dir   string
	child bool // standard input is a pipe of the coordinator
}

const (
	roleAll    = "all"
	roleWorker = "worker"
)

const usage = `Sort sorts a file of lines by several processes.

Usage: sort [flags]

Without -in it generates a file of -size bytes. The temporary files need about three times the size of the input.
REDIS_URL, such as redis://localhost:6379, names the server. Without it a private redis-server is started if there is
one on PATH, and else an in-process one.

A process joins the workers of another one with the same REDIS_URL, on the same machine, with the flags that the
first one logs:
  sort -role worker -name NAME -dir DIR

The exit status is 0 when the file is sorted (with -check: and has the lines of the input), 1 when something fails,
2 for a wrong command line.
`

// parse reads the command line, and exits with status 2 if it is wrong.
func parse() (o options) {
	o.size, o.chunk = 64e6, 4<<20
	flag.StringVar(&o.in, "in", "", "`file` to sort (default: a generated one)")
	flag.StringVar(&o.out, "out", "", "`file` to write (default: none is kept)")
	flag.Var(&o.size, "size", "`bytes` to generate, such as 500KB, 64MB or 1GB")
	flag.BoolVar(&o.check, "check", false, "compare the order and the checksum of the result to the input")
	flag.IntVar(&o.workers, "workers", 3, "`number` of worker processes to start")
	flag.IntVar(&o.ranges, "ranges", 8, "`number` of ranges, each of which has a stream")
	flag.Var(&o.chunk, "chunk", "`bytes` of the file that a worker reads at once")
	flag.DurationVar(&o.lease, "lease", 3*time.Second, "`time` after which the work of a dead worker is repeated")
	flag.StringVar(&o.role, "role", roleAll, "`part` to run: all, or worker")
	flag.StringVar(&o.name, "name", "", "`prefix` of the keys (default: a random one)")
	flag.StringVar(&o.dir, "dir", "", "`folder` for temporary files (default: a new one, which is deleted)")
	flag.BoolVar(&o.child, "child", false, "end when standard input ends; set by the coordinator")
	cli.Parse(usage, 0, o.mistakes)
	if o.name == "" {
		o.name = fmt.Sprintf("sort:%d-%d", time.Now().UnixMilli(), os.Getpid())
	}
	return o
}

func (o *options) mistakes() error {
	var errs []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(o.size < 1, "-size %s: give at least 1 byte", o.size)
	wrong(o.chunk < 1<<10 || o.chunk > 64<<20, "-chunk %s: give 1KB to 64MB", o.chunk)
	wrong(o.workers < 1 || o.workers > 100, "-workers %d: give 1 to 100", o.workers)
	wrong(o.ranges < 1 || o.ranges > 100, "-ranges %d: give 1 to 100", o.ranges)
	wrong(o.lease < 100*time.Millisecond, "-lease %v: give at least 100ms", o.lease)
	wrong(o.role != roleAll && o.role != roleWorker, "-role %s: give all or worker", o.role)
	wrong(o.role == roleWorker && (o.name == "" || o.dir == "" || os.Getenv("REDIS_URL") == ""),
		"-role worker: set REDIS_URL, -name and -dir to those of the coordinator")
	return errors.Join(errs...)
}

// size is a number of bytes, with an optional unit: KB, MB or GB.
type size int64

func (s size) String() string {
	switch {
	case s >= 1e9:
		return fmt.Sprintf("%.3gGB", float64(s)/1e9)
	case s >= 1e6:
		return fmt.Sprintf("%.3gMB", float64(s)/1e6)
	}
	return fmt.Sprintf("%dB", int64(s))
}

// Set implements flag.Value.
func (s *size) Set(text string) error {
	t, unit := strings.ToUpper(text), 1.0
	for suffix, u := range map[string]float64{"KB": 1e3, "MB": 1e6, "GB": 1e9} {
		if n, ok := strings.CutSuffix(t, suffix); ok {
			t, unit = n, u
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(t, "B"), 64)
	if err != nil || n < 0 || n*unit > 1e15 {
		return errors.New("give a number of bytes, such as 500KB or 1GB")
	}
	*s = size(n * unit)
	return nil
}
