package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/bench"
)

// nodeFolder has streamerson for Node in the role that ./streamerson describes.
const nodeFolder = "streamerson/node"

// nodeOf returns streamerson for Node, if it is installed.
func nodeOf(c bench.Case) []bench.Implementation {
	callers, ok := strings.CutPrefix(c.Name, "calls-")
	if _, err := os.Stat(filepath.Join(nodeFolder, "node_modules")); err != nil || !ok {
		return nil
	}
	if _, err := exec.LookPath("node"); err != nil {
		return nil
	}
	return []bench.Implementation{{
		Name: "streamerson-node", Slow: 12, Elsewhere: true,
		About: "streamerson for Node: its awaiter and a worker of its streams in one process; replies are the requests",
		Run:   func(ctx context.Context, t *bench.Trial) error { return nodeCalls(ctx, t, callers) },
		Setup: func(context.Context, *bench.Trial) error { return nil },
		Check: func(ctx context.Context, t *bench.Trial) error {
			keys, err := t.Redis.Keys(ctx, "*"+t.In+"*").Result()
			if len(keys) > 0 {
				err = t.Redis.Unlink(ctx, keys...).Err()
			}
			return errors.Join(answered(ctx, t), err)
		},
	}}
}

func nodeCalls(ctx context.Context, t *bench.Trial, callers string) (err error) {
	_, port, err := net.SplitHostPort(t.Redis.(*redis.Client).Options().Addr)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "node", "--no-warnings", filepath.Join(nodeFolder, "peer.js"), "calls", port, t.In)
	cmd.Stderr, cmd.WaitDelay = os.Stderr, 5*time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close(), cmd.Wait()) }()
	lines := bufio.NewReader(out)
	if _, err := lines.ReadBytes('\n'); err != nil { // it is ready
		return err
	}
	t.Start()
	if _, err := fmt.Fprintf(in, `{"callers":%s,"n":%s}`+"\n", callers, strconv.Itoa(t.N)); err != nil {
		return err
	}
	line, err := lines.ReadBytes('\n')
	t.Stop()
	if err != nil {
		return cmp.Or(context.Cause(ctx), err, io.ErrUnexpectedEOF)
	}
	var got struct{ Took []float64 } // ms
	if err := json.Unmarshal(line, &got); err != nil {
		return err
	}
	for _, ms := range got.Took {
		t.Latencies = append(t.Latencies, time.Duration(ms*float64(time.Millisecond)))
	}
	return nil
}
