// Package server starts private redis-server processes, on a free port and in a temporary folder
// that is removed at the end.
package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// ErrNotFound reports that no redis-server is on PATH.
var ErrNotFound = errors.New("redis-server is not on PATH")

// Options configure a server.
type Options struct {
	Path  string            // the program; "" is redis-server on PATH
	Args  []string          // more arguments, such as "--maxmemory", "100mb"; later ones take precedence
	Env   []string          // more environment variables
	Files map[string]string // files in its working folder; arguments name them without a path
	Kind  Kind

	// Password is the password for clients; "" requires no password. It is stored in a file that
	// only this user can read, because every user of the machine can see arguments.
	Password string

	TLS bool // the port accepts TLS; Args and Files provide the certificates
}

// passwordFile is in the server's folder, which only its owner can read.
const passwordFile = "password.conf"

// Kind is a kind of server.
type Kind int

// The kinds of servers.
const (
	Alone    Kind = iota
	Cluster       // a node of a cluster
	Sentinel      // Files has sentinel.conf, which it rewrites
)

// Server is one redis-server process.
type Server struct {
	path string
	dir  string
	port int
	bus  int // of a cluster node
	o    Options

	mu   sync.Mutex // guards proc; never held while waiting
	proc *process
}

// process is one run of a server.
type process struct {
	cmd  *exec.Cmd
	out  *tail
	done chan struct{} // closed when it has ended
}

// Start starts a server and waits until it accepts connections. If another process takes the port
// meanwhile, it tries another port.
func Start(ctx context.Context, o Options) (*Server, error) {
	path, err := exec.LookPath(cmp.Or(o.Path, "redis-server"))
	if err != nil {
		return nil, ErrNotFound
	}
	dir, err := os.MkdirTemp("", "redisio-")
	if err != nil {
		return nil, err
	}
	s := &Server{path: path, dir: dir, o: o}
	if o.Password != "" {
		o.Files = maps.Clone(o.Files)
		if o.Files == nil {
			o.Files = make(map[string]string, 1)
		}
		o.Files[passwordFile] = "requirepass " + o.Password + "\n"
	}
	for name, text := range o.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	for range 10 {
		if s.port, err = freePort(); err != nil {
			break
		}
		if o.Kind == Cluster {
			if s.bus, err = freePort(); err != nil {
				break
			}
		}
		if err = s.launch(ctx); err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	_ = os.RemoveAll(dir)
	return nil, fmt.Errorf("start %s: %w", path, err)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) launch(ctx context.Context) error {
	p := &process{
		cmd:  exec.Command(s.path, s.args()...),
		out:  &tail{ready: make(chan struct{})},
		done: make(chan struct{}),
	}
	p.cmd.Dir = s.dir
	p.cmd.Env = append(p.cmd.Environ(), s.o.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	dieWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() { // ends with the process; stop waits for it
		_ = p.cmd.Wait() // being killed is the normal end
		close(p.done)
	}()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	var err error
	select {
	case <-p.out.ready: // read from its output: another process could answer on the port
		s.mu.Lock()
		s.proc = p
		s.mu.Unlock()
		return nil
	case <-p.done:
		return fmt.Errorf("it ended: %s", p.out.text())
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timeout.C:
		err = fmt.Errorf("not ready after 20 s: %s", p.out.text())
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return err
}

func (s *Server) args() []string {
	port := strconv.Itoa(s.port)
	if s.o.Kind == Sentinel {
		return append(
			[]string{
				"sentinel.conf",
				"--sentinel",
				"--port",
				port,
				"--bind",
				"127.0.0.1",
				"--dir",
				s.dir,
				"--daemonize",
				"no",
			},
			s.o.Args...)
	}
	args := []string{
		"--port",
		port,
		"--bind",
		"127.0.0.1",
		"--dir",
		s.dir,
		"--save",
		"",
		"--appendonly",
		"no",
		"--daemonize",
		"no",
	}
	if s.o.Password != "" {
		args = append([]string{passwordFile}, args...)
	}
	if s.o.TLS {
		args = append(args, "--port", "0", "--tls-port", port)
	}
	if s.o.Kind == Cluster {
		args = append(args, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(s.bus))
	}
	return append(args, s.o.Args...)
}

// Dir returns the server's folder.
func (s *Server) Dir() string { return s.dir }

// Bus returns the port of the cluster bus.
func (s *Server) Bus() int { return s.bus }

// Addr returns host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL returns the URL to connect to, with the password.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr()}
	if s.o.Password != "" {
		u.User = url.UserPassword("", s.o.Password)
	}
	return u.String()
}

// Path returns the path of the program.
func (s *Server) Path() string { return s.path }

func (s *Server) running() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil, errors.New("redis-server is not running")
	}
	return s.proc, nil
}

// Kill ends the process like a crash. Data that was not persisted is lost.
func (s *Server) Kill() error {
	s.mu.Lock()
	p := s.proc
	s.proc = nil
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	err := p.cmd.Process.Kill()
	<-p.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Restart kills the process if it runs and starts it again on the same port and folder.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Kill(); err != nil {
		return err
	}
	var err error
	for range 20 {
		if err = s.launch(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// Stop kills the process and removes its folder.
func (s *Server) Stop() error { return errors.Join(s.Kill(), os.RemoveAll(s.dir)) }

// tail keeps the end of the output and detects that the server is ready.
type tail struct {
	mu    sync.Mutex
	buf   []byte
	ready chan struct{}
	said  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if !t.said &&
		(bytes.Contains(t.buf, []byte("Ready to accept connections")) ||
			bytes.Contains(t.buf, []byte("Sentinel ID is"))) {
		t.said = true
		close(t.ready)
	}
	if len(t.buf) > 16<<10 {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-4<<10:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
