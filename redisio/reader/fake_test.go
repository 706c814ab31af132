package reader

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// fake returns a client of a server that answers with reply, for behavior that no available server
// has. It answers one command at a time, and the handshake of a connection by itself. The command's
// name is in lower case.
func fake(t *testing.T, reply func(args []string) string) *redis.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var running sync.WaitGroup
	conns := make(map[net.Conn]struct{})
	serve := func(c net.Conn) {
		defer c.Close()
		in := bufio.NewReader(c)
		for {
			args, err := command(in)
			if err != nil {
				return
			}
			mu.Lock()
			answer := "+OK\r\n"
			switch args[0] {
			case "hello":
				answer = "-ERR unknown command 'hello'\r\n"
			case "client", "ping":
			default:
				answer = reply(args)
			}
			mu.Unlock()
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	}
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = struct{}{}
			mu.Unlock()
			running.Go(func() { serve(c) })
		}
	})
	rdb := redis.NewClient(&redis.Options{Addr: l.Addr().String(), Protocol: 2})
	t.Cleanup(func() {
		_ = rdb.Close()
		_ = l.Close()
		mu.Lock()
		for c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return rdb
}

// command reads one command.
func command(in *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		s := make([]byte, size+2)
		if _, err := io.ReadFull(in, s); err != nil {
			return nil, err
		}
		args[i] = string(s[:size])
	}
	args[0] = strings.ToLower(args[0])
	return args, nil
}

// A reader detects by TIME, and by the entries it reads, that its clock is ahead.
func TestFault_G4_ReaderKnowsRedisClock(t *testing.T) {
	const behind = time.Hour
	at := func() int64 { return time.Now().Add(-behind).UnixMilli() }
	rdb := fake(t, func(args []string) string {
		switch args[0] {
		case "time":
			return fmt.Sprintf("*2\r\n$10\r\n%d\r\n$1\r\n0\r\n", at()/1000)
		case "xgroup":
			return "+OK\r\n"
		case "xinfo":
			return "*1\r\n*4\r\n$4\r\nname\r\n$1\r\ng\r\n$17\r\nlast-delivered-id\r\n$3\r\n0-0\r\n"
		}
		return "*-1\r\n"
	})
	r, _ := open(
		t,
		rdb,
		GroupConfig{Key: "k", Tuning: Tuning{Capabilities: &redisio.Capabilities{}}},
	)
	if ahead := r.Ahead(); ahead < behind-time.Second || ahead > behind+10*time.Second {
		t.Errorf("ahead by %v, want about %v", ahead, behind)
	}
}
