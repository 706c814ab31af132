package ratelimit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// memberURL and memberKey are the variables that make the test binary a member of a limit.
const (
	memberURL = "RATELIMIT_MEMBER_URL"
	memberKey = "RATELIMIT_MEMBER_KEY"
)

// memberMost is the limit of all members together, and memberHas what each of them could pass on.
const (
	memberMost = 100
	memberHas  = 80
)

// member is a process with a graph under a shared limit. It prints a line for each message that the
// limit admits, and ends when its input does.
func member(url string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	rdb, err := redisio.Connect(context.Background(), url, redisio.ConnectOptions{})
	if err != nil {
		return fail(err)
	}
	defer rdb.Close()
	limit, err := New(rdb, Config{Key: os.Getenv(memberKey), Most: memberMost, Per: time.Hour})
	if err != nil {
		return fail(err)
	}
	values := func(yield func(int) bool) {
		for v := range memberHas {
			if !yield(v) {
				return
			}
		}
	}
	paced := operators.ThrottleShared(source.Values(values), limit, nil)
	running, err := flow.New("member", flow.To(paced, sink.Func(func(context.Context, int) error {
		_, err := fmt.Println("passed")
		return err
	}))).Start(context.Background())
	if err != nil {
		return fail(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := running.Stop(); err != nil {
		return fail(err)
	}
	return 0
}

// TestProcesses has two processes share a limit: together they pass on exactly as much as it admits.
func TestProcesses(t *testing.T) {
	srv := redistest.Shared(t)
	key := redistest.Key(t)
	passed := make(chan string)
	var readers sync.WaitGroup
	var ends []io.Closer
	var members []*exec.Cmd
	for range 2 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), memberURL+"="+srv.URL(), memberKey+"="+key)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ends, members = append(ends, in), append(members, cmd)
		readers.Go(func() {
			for lines := bufio.NewScanner(out); lines.Scan(); {
				select {
				case passed <- lines.Text():
				case <-t.Context().Done():
					return
				}
			}
		})
	}
	n := 0
	for ; n < memberMost; n++ { // neither has that many
		select {
		case <-passed:
		case <-time.After(redistest.Patience):
			t.Fatalf("%d messages have passed, the limit admits %d", n, memberMost)
		}
	}
	for _, in := range ends {
		_ = in.Close()
	}
	go func() {
		readers.Wait()
		close(passed)
	}()
	for range passed {
		n++
	}
	for _, cmd := range members {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if n != memberMost {
		t.Errorf("%d messages have passed, the limit admits %d", n, memberMost)
	}
}
