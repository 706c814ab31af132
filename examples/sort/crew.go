package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// crew is the worker processes.
type crew struct {
	ctx    context.Context // ends when no worker is left
	cancel context.CancelCauseFunc
	pipes  []io.Closer // the standard inputs of the workers: a worker ends with it
	wait   sync.WaitGroup
	left   atomic.Int32
	ending atomic.Bool
}

var errNoWorker = errors.New("no worker is left: start it again, or more of them with -workers")

// start starts the workers: this program, in another role.
func (j *job) start(ctx context.Context) (*crew, error) {
	c := &crew{}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-role", roleWorker, "-name", j.name, "-dir", j.dir, "-ranges", strconv.Itoa(j.ranges),
		"-lease", j.lease.String()}
	j.log.Info("another worker joins with: sort " + strings.Join(args, " "))
	for i := range j.workers {
		cmd := exec.Command(self, append(args, "-child")...)
		cmd.Env = append(os.Environ(), "REDIS_URL="+j.url())
		cmd.Stderr = j.screen
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			c.end()
			return nil, fmt.Errorf("start a worker: %w", err)
		}
		c.pipes = append(c.pipes, in)
		c.left.Add(1)
		j.log.Info(fmt.Sprintf("worker %d has pid %d", i+1, cmd.Process.Pid))
		c.wait.Go(func() {
			err := cmd.Wait()
			if left := c.left.Add(-1); !c.ending.Load() && c.ctx.Err() == nil {
				j.log.Warn(fmt.Sprintf("worker %d has ended; %d are left", i+1, left), "error", err)
				if left == 0 {
					c.cancel(errNoWorker)
				}
			}
		})
	}
	return c, nil
}

// url returns the URL of the server for the workers.
func (j *job) url() string {
	if u := os.Getenv("REDIS_URL"); u != "" {
		return u
	}
	o := j.rdb.(*redis.Client).Options() // of a private server
	return (&url.URL{Scheme: "redis", User: url.UserPassword(o.Username, o.Password), Host: o.Addr}).String()
}

// end ends the workers.
func (c *crew) end() {
	c.ending.Store(true)
	for _, in := range c.pipes {
		_ = in.Close()
	}
	c.wait.Wait()
	c.cancel(nil)
}

// cause returns why the sort has failed; nil after Ctrl-C.
func (c *crew) cause(err error) error {
	if c.ctx.Err() == nil {
		return err
	}
	if why := context.Cause(c.ctx); errors.Is(why, errNoWorker) {
		return why
	}
	return nil
}
