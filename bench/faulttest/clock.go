package faulttest

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// shim shifts the wall clock of the program that loads it, by the offset in a file. It does not
// change monotonic clocks, as `date -s` does not.
const shim = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static volatile long long *offset;
static int (*real_clock)(clockid_t, struct timespec *);
__attribute__((constructor)) static void begin(void) {
  real_clock = dlsym(RTLD_NEXT, "clock_gettime");
  const char *name = getenv("FAULTS_CLOCK");
  int fd = name ? open(name, O_RDONLY) : -1;
  void *p = fd < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
  if (p != MAP_FAILED) offset = p;
}
int clock_gettime(clockid_t id, struct timespec *ts) {
  if (!real_clock) real_clock = dlsym(RTLD_NEXT, "clock_gettime");
  int r = real_clock(id, ts);
  if (r == 0 && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) ts->tv_sec += *offset;
  return r;
}
int gettimeofday(struct timeval *tv, void *tz) {
  struct timespec ts;
  int r = clock_gettime(CLOCK_REALTIME, &ts);
  tv->tv_sec = ts.tv_sec;
  tv->tv_usec = ts.tv_nsec / 1000;
  return r;
}
time_t time(time_t *t) {
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  if (t) *t = ts.tv_sec;
  return ts.tv_sec;
}
`

// clock is the wall clock of a server.
type clock struct{ file string }

// clockShim builds the shim. It fails without a C compiler.
func clockShim(t *trial) (c clock, env []string, err error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return c, nil, err
	}
	source, lib := filepath.Join(t.dir, "clock.c"), filepath.Join(t.dir, "clock.so")
	t.must(os.WriteFile(source, []byte(shim), 0o600))
	if out, err := exec.CommandContext(t.ctx, gcc, "-shared", "-fPIC", "-O1", "-o", lib, source,
		"-ldl").CombinedOutput(); err != nil {
		return c, nil, fmt.Errorf("%w: %s", err, out)
	}
	c = clock{filepath.Join(t.dir, "clock")}
	c.set(t, 0)
	return c, []string{"LD_PRELOAD=" + lib, "FAULTS_CLOCK=" + c.file}, nil
}

// set makes the clock differ from the real one by the given time. It writes the file in place
// because the server has it mapped.
func (c clock) set(t *trial, by time.Duration) {
	f, err := os.OpenFile(c.file, os.O_CREATE|os.O_WRONLY, 0o600)
	t.must(err)
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(by/time.Second)), 0)
	t.must(err)
	t.must(f.Close())
}

// clockSteps is R12. The server's wall clock times the leases. After a step back, a dead worker's
// entries stay leased for as long as the step. After a step forward, all leases expire at once.
// Neither may lose a message.
func clockSteps(t *trial) {
	c, env, err := clockShim(t)
	if err != nil {
		t.skip("the clock's shim needs gcc: %v", err)
		return
	}
	t.server(redistest.Env(env...))
	rdb := t.in
	const kind = "step of the clock by an hour"
	t.needs[kind] = 3
	step := func(by time.Duration) {
		before, err := rdb.Time(t.ctx).Result()
		t.must(err)
		c.set(t, by)
		after, err := rdb.Time(t.ctx).Result()
		t.must(err)
		if d := after.Sub(before).Abs(); d < 50*time.Minute {
			t.find(kindVoid, "the server's clock moved by %v", d)
		}
		t.fault(kind, 1)
		t.allow(3 * t.job.InFlight)
	}
	t.down(6 * time.Second) // the client abandons a held read after its BLOCK plus five seconds
	t.usual(3, func() {
		for _, by := range []time.Duration{time.Hour, 0, -time.Hour} {
			if !t.round(t.timed(time.Second, 5*time.Second), t.timed(1500*time.Millisecond, 10*time.Second)) {
				return
			}
			i := t.victim()
			untilBusy(t, t.pool.team[i])
			t.pool.fire(i, true) // its entries are reclaimed sooner or later
			t.fault("kill -9 of a worker", 1)
			t.allow(t.job.InFlight)
			step(by)
		}
		t.pause(time.Second)
		step(
			2 * time.Hour,
		) // later than every earlier time: entries of dead workers are due now, not in hours
	})
}
