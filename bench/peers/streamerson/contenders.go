package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/web"
)

const (
	callers     = 100
	connections = 64
)

// text is the payload: 100 bytes in an object.
type text struct {
	Text string `json:"text"`
}

var payload = text{strings.Repeat("x", 100)}

// bench is shared by all contenders.
type bench struct {
	addr    string
	node    string
	closers []func() error
}

func (b *bench) close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	return errors.Join(errs...)
}

// published lists the peer's package unchanged, and pipelined as its later versions are.
var published = []struct{ name, tuned string }{
	{"streamerson for Node 0.0.19", ""},
	{"the same, pipelined", "pipelined"},
}

func (b *bench) peer(ctx context.Context, hello any, role, topic, tuned string) (*process, error) {
	_, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		return nil, err
	}
	return b.start(ctx, hello, "node", filepath.Join(b.node, "peer.js"), role, port, topic+tuned, tuned)
}

var wires = map[string]gateways.Wire{"native": nil, "v1": gateways.StreamersonV1{}}

func (b *bench) calls(ctx context.Context) ([]contender, error) {
	var all []contender
	for _, v := range published {
		theirs, err := b.peer(ctx, &struct{}{}, "calls", "calls-node", v.tuned)
		if err != nil {
			return nil, err
		}
		all = append(all, contender{v.name, func(_ context.Context, long time.Duration) (r result, err error) {
			_, err = fmt.Fprintf(theirs.in, "{\"callers\":%d,\"ms\":%d}\n", callers, long.Milliseconds())
			if err != nil {
				return r, err
			}
			return r, theirs.hear(&r)
		}})
	}
	for _, wire := range []string{"native", "v1"} {
		rdb := redis.NewClient(&redis.Options{Addr: b.addr})
		topic := "calls-" + wire
		svc := service(rdb, topic, wire)
		running, err := svc.Graph().Start(ctx)
		if err != nil {
			return nil, err
		}
		client := gateways.NewClient(rdb, topic, gateways.ClientConfig{Wire: wires[wire]})
		b.closers = append(
			b.closers,
			rdb.Close,
			func() error { _, err := running.Drain(context.WithoutCancel(ctx)); return err },
			func() error { return client.Close(context.WithoutCancel(ctx)) },
		)
		for running.Ready() != nil {
			time.Sleep(10 * time.Millisecond)
		}
		call := gateways.Call[text, text](client, "echo")
		all = append(
			all,
			contender{"this, " + wire + " wire", func(ctx context.Context, long time.Duration) (result, error) {
				return load(callers, long, func() (func() error, io.Closer, error) {
					return func() error {
						got, err := call(ctx, payload)
						if err == nil && got != payload {
							err = errors.New("wrong reply")
						}
						return err
					}, io.NopCloser(nil), nil
				})
			}},
		)
	}
	return all, nil
}

func service(rdb *redis.Client, topic, wire string) *gateways.Service {
	svc := gateways.NewService(rdb, topic, gateways.ServiceConfig{Wire: wires[wire]})
	gateways.Handle(svc, "echo", func(_ context.Context, v text) (text, error) { return v, nil })
	return svc
}

// serveRole is a process of the http case.
func serveRole(ctx context.Context, role, addr, topic, wire string) error {
	ctx, cancel := context.WithCancel(ctx)
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }() // ends with the process that started it
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	if role == "worker" {
		running, err := service(rdb, topic, wire).Graph().Start(ctx)
		if err != nil {
			return err
		}
		for running.Ready() != nil {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("{}")
		return running.Wait()
	}
	client := gateways.NewClient(rdb, topic, gateways.ClientConfig{Wire: wires[wire]})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("{\"port\":%d}\n", l.Addr().(*net.TCPAddr).Port)
	mux := http.NewServeMux()
	mux.Handle("POST /", web.HTTP(client, "echo"))
	err = web.Serve(ctx, l, mux, web.ServerConfig{})
	return errors.Join(err, client.Close(context.WithoutCancel(ctx)))
}

func (b *bench) http(ctx context.Context) ([]contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var all []contender
	var at struct{ Port int }
	add := func(name string) {
		port := at.Port
		all = append(all, contender{name, func(_ context.Context, long time.Duration) (result, error) {
			return load(connections, long, func() (func() error, io.Closer, error) { return poster(port) })
		}})
	}
	for _, v := range published {
		if _, err := b.peer(ctx, &struct{}{}, "worker", "http-node", v.tuned); err != nil {
			return nil, err
		}
		if _, err := b.peer(ctx, &at, "gateway", "http-node", v.tuned); err != nil {
			return nil, err
		}
		add(v.name)
	}
	for _, wire := range []string{"native", "v1"} {
		for role, hello := range map[string]any{"worker": &struct{}{}, "gateway": &at} {
			_, err := b.start(ctx, hello, self, "-role", role, "-addr", b.addr, "-topic", "http-"+wire, "-wire", wire)
			if err != nil {
				return nil, err
			}
		}
		add("this, " + wire + " wire")
	}
	return all, nil
}

// poster opens a connection that posts the payload and reads the reply repeatedly. It is
// hand-written, because the load generator shares two cores with the code it measures.
func poster(port int) (func() error, io.Closer, error) {
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		return nil, nil, err
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, conn, err
	}
	request := fmt.Appendf(
		nil,
		"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(body),
		body,
	)
	in := bufio.NewReader(conn)
	return func() error {
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return err
		}
		if _, err := conn.Write(request); err != nil {
			return err
		}
		length := -1
		for n := 0; ; n++ {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return err
			}
			if n == 0 && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
				return fmt.Errorf("wrong reply: %q", line)
			}
			if len(line) == 2 {
				break
			}
			if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
				if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
					return err
				}
			}
		}
		got, err := in.Peek(length)
		if err == nil && !bytes.Equal(bytes.TrimSpace(got), body) {
			err = fmt.Errorf("wrong reply: %q", got)
		}
		if err == nil {
			_, err = in.Discard(length)
		}
		return err
	}, conn, nil
}

// load calls do repeatedly in n goroutines until the time has passed.
func load(n int, long time.Duration, open func() (do func() error, end io.Closer, err error)) (result, error) {
	var mu sync.Mutex
	var all []time.Duration
	var errs []error
	var wg sync.WaitGroup
	began := time.Now()
	for range n {
		wg.Go(func() {
			do, end, err := open()
			if end != nil {
				defer end.Close()
			}
			var took []time.Duration
			for err == nil && time.Since(began) < long {
				at := time.Now()
				if err = do(); err == nil {
					took = append(took, time.Since(at))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, took...), append(errs, err)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return result{}, err
	}
	return summary(all, time.Since(began))
}
