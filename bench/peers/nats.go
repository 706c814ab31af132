package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/streamerson/streamerson-go/bench"
)

// natsRole is the environment variable that makes this program a NATS server.
const natsRole = "PEERS_NATS_SERVER"

// natsServer is a NATS server in a process of its own, as redis-server is. It ends with its input.
type natsServer struct {
	url string
	cmd *exec.Cmd
	in  io.WriteCloser
	mu  sync.Mutex
	out *bufio.Scanner
}

// serveNATS prints the server's address, and its CPU time for each line of input.
func serveNATS() error {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return err
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("the NATS server did not start")
	}
	fmt.Println(s.ClientURL())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return err
		}
		fmt.Println(u.Utime.Nano() + u.Stime.Nano())
	}
	return nil
}

func startNATS() (*natsServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	n := &natsServer{cmd: exec.Command(self)}
	n.cmd.Env, n.cmd.Stderr = append(os.Environ(), natsRole+"=1"), os.Stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	n.out = bufio.NewScanner(out)
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	if !n.out.Scan() {
		return nil, errors.Join(cmp.Or(n.out.Err(), io.ErrUnexpectedEOF), n.close())
	}
	n.url = n.out.Text()
	return n, nil
}

func (n *natsServer) close() error { return errors.Join(n.in.Close(), n.cmd.Wait()) }

// cpu returns the CPU time of the server; 0 if it does not say.
func (n *natsServer) cpu() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, err := fmt.Fprintln(n.in); err != nil || !n.out.Scan() {
		return 0
	}
	ns, err := strconv.ParseInt(n.out.Text(), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ns)
}

func (n *natsServer) of(c bench.Case) []bench.Implementation {
	if n == nil || !isCalls(c) {
		return nil
	}
	return []bench.Implementation{{
		Name:      "nats-micro",
		About:     "NATS micro with its defaults: a service with one endpoint, and Request; its server replaces Redis",
		Run:       c.Asking(n.open),
		Setup:     func(context.Context, *bench.Trial) error { return nil },
		Check:     answered,
		ServerCPU: n.cpu,
	}}
}

// answered checks only the number of calls: their bodies are checked when they are answered.
func answered(_ context.Context, t *bench.Trial) error {
	if len(t.Latencies) != t.N {
		return fmt.Errorf("%d calls were answered, want %d", len(t.Latencies), t.N)
	}
	return nil
}

// open starts a service and a caller, each with a connection of its own.
func (n *natsServer) open(_ context.Context, t *bench.Trial) (bench.Service, error) {
	subject := strings.ReplaceAll(t.In, ":", ".")
	at, err := nats.Connect(n.url)
	if err != nil {
		return bench.Service{}, err
	}
	svc, err := micro.AddService(at, micro.Config{
		Name: "prices", Version: "1.0.0",
		Endpoint: &micro.EndpointConfig{Subject: subject, Handler: micro.HandlerFunc(func(r micro.Request) {
			answer, err := bench.Price(r.Data())
			if err != nil {
				_ = r.Error("400", err.Error(), nil) // the caller sees a wrong answer
				return
			}
			_ = r.Respond(answer) // the caller's patience ends
		})},
	})
	if err != nil {
		at.Close()
		return bench.Service{}, err
	}
	caller, err := nats.Connect(n.url)
	if err == nil {
		err = at.Flush() // the subscription is made
	}
	if err != nil {
		at.Close()
		return bench.Service{}, err
	}
	return bench.Service{Call: func(_ context.Context, body []byte) ([]byte, error) {
		m, err := caller.Request(subject, body, patience)
		if err != nil {
			return nil, err
		}
		return m.Data, nil
	}, End: func() error {
		caller.Close()
		err := svc.Stop()
		at.Close()
		return err
	}}, nil
}
