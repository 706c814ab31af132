package faulttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// serverPath returns the server for the trials: REDISTEST_SERVER, or redis-server on PATH.
func serverPath() (string, error) {
	name := os.Getenv("REDISTEST_SERVER")
	if name == "" {
		name = "redis-server"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("faulttest: no %s: `make setup` installs redis-server (%w)", name, err)
	}
	return path, nil
}

// server is one redis-server and its folder, across restarts of its process.
type server struct {
	path string
	dir  string
	port int
	args []string
	env  []string
	proc *process
}

// start starts a server on a free port. Later arguments override earlier ones.
func start(ctx context.Context, dir string, env []string, args ...string) (*server, error) {
	path, err := serverPath()
	if err != nil {
		return nil, err
	}
	s := &server{path: path, args: args, env: env}
	for range 10 {
		if s.port, err = freePort(); err != nil {
			return nil, err
		}
		s.dir = filepath.Join(dir, "redis-"+strconv.Itoa(s.port))
		if err = os.MkdirAll(s.dir, 0o755); err != nil {
			return nil, err
		}
		if err = s.launch(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	return s, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// launch starts the process and waits until it answers.
func (s *server) launch(ctx context.Context) error {
	args := append([]string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no"}, s.args...)
	cmd := exec.Command(s.path, args...)
	cmd.Env = append(os.Environ(), s.env...)
	p, err := launch(cmd)
	if err != nil {
		return err
	}
	if err := s.answers(ctx, p, 20*time.Second); err != nil {
		p.kill()
		return fmt.Errorf("faulttest: %s: %w\n%s", s.path, err, p.out.text())
	}
	s.proc = p
	return nil
}

// answers waits for the reply to a PING, so that outages after it are not the server's start.
func (s *server) answers(ctx context.Context, p *process, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		if s.ping() {
			return nil
		}
		if p.ended() {
			return errors.New("the server ended at once")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer within %v", patience)
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func (s *server) ping() bool {
	c, err := net.DialTimeout("tcp", s.addr(), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second)) // a TCP connection supports deadlines
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

func (s *server) addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }
func (s *server) url() string  { return "redis://" + s.addr() }

// kill ends the server as a crash does.
func (s *server) kill() {
	if s.proc != nil {
		s.proc.kill()
	}
}

// restart starts the server again on the same port and folder.
func (s *server) restart(ctx context.Context) error {
	s.kill()
	var err error
	for range 20 { // a connection may occupy the port for a moment
		if err = s.launch(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return err
}

// client returns a client of the harness itself, which bypasses all proxies. The caller closes it.
func (s *server) client() *redis.Client { return clientOf(s.addr()) }

// harness is the client name of the harness' own connections.
const harness = "faults"

func clientOf(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second, ReadTimeout: 3 * time.Second,
		ContextTimeoutEnabled: true, DisableIdentity: true, ClientName: harness,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// sleep waits for d, or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
