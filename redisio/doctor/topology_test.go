package doctor

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// listen serves connections with handle until the test ends, and returns the address.
func listen(t *testing.T, handle func(n int, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				handle(n, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

// balancer passes each connection to the next server.
func balancer(t *testing.T, servers ...string) string {
	return listen(t, func(n int, c net.Conn) {
		up, err := net.Dial("tcp", servers[n%len(servers)])
		if err != nil {
			return
		}
		var back sync.WaitGroup
		back.Go(func() {
			_, _ = io.Copy(c, up) // ends with the connection
			_ = c.Close()
		})
		_, _ = io.Copy(up, c)
		_ = up.Close()
		back.Wait()
	})
}

// multiplexer passes the commands of all connections to a few connections of a server, in turn. It
// cuts a connection that sends one of the unknown commands.
func multiplexer(t *testing.T, server string, size int, unknown ...string) string {
	t.Helper()
	type shared struct {
		sync.Mutex
		net.Conn
		in *bufio.Reader
	}
	ups := make([]shared, size)
	for i := range ups {
		up, err := net.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = up.Close() })
		ups[i].Conn, ups[i].in = up, bufio.NewReader(up)
	}
	var turn sync.Mutex
	next := 0
	return listen(t, func(_ int, c net.Conn) {
		for in := bufio.NewReader(c); ; {
			command, err := value(in)
			if err != nil || len(command) < 4 {
				return
			}
			name := strings.SplitN(string(command), "\r\n", 4)[2] // behind *2 and $4
			if slices.Contains(unknown, strings.ToLower(name)) {
				return
			}
			turn.Lock()
			next++
			up := &ups[next%size]
			turn.Unlock()
			up.Lock()
			_, _ = up.Write(command)
			reply, err := value(up.in)
			up.Unlock()
			if err != nil {
				return
			}
			_, _ = c.Write(reply)
		}
	})
}

// value reads a value of the protocol, as it is.
func value(in *bufio.Reader) ([]byte, error) {
	raw, err := in.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(raw[1:])))
	switch raw[0] {
	case '$', '=':
		if n >= 0 {
			body := make([]byte, n+2)
			if _, err := io.ReadFull(in, body); err != nil {
				return nil, err
			}
			raw = append(raw, body...)
		}
		return raw, nil
	case '%':
		n *= 2
	case '*', '~', '>':
	default:
		return raw, nil
	}
	for range n {
		part, err := value(in)
		if err != nil {
			return nil, err
		}
		raw = append(raw, part...)
	}
	return raw, nil
}

// at returns a client of one address.
func at(t *testing.T, addr string) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// Behind an address that is several servers, an entry is on one of them.
func TestSeveralServersAtOneAddress(t *testing.T) {
	addr := balancer(t, redistest.Start(t).Addr(), redistest.Start(t).Addr())
	_, found := examined(t, at(t, addr), Options{})
	wants(t, found, "server/several", Problem, "2 different servers")
	wants(t, found, "promises", Note, "several servers")
}

// A load balancer before a cluster serves a client that does not know of the cluster wrongly.
func TestClusterBehindOneAddress(t *testing.T) {
	cluster := redistest.StartCluster(t, 0)
	_, found := examined(t, at(t, balancer(t, cluster.Addrs()...)), Options{})
	wants(t, found, "cluster/address", Problem, "MOVED")
	wants(t, found, "server/several", Problem, "nodes of the cluster")
	wants(t, found, "promises", Note, "one node of a cluster")
}

// Proxies that share connections are found, and what they break.
func TestMultiplexingProxies(t *testing.T) {
	server := redistest.Start(t)
	t.Run("one connection for all", func(t *testing.T) {
		rdb := at(t, multiplexer(t, server.Addr(), 1))
		var r *Report
		var found map[string]Finding
		redistest.Soon(t, "a PING is sent while a read blocks", func() bool {
			r, found = examined(t, rdb, Options{Quick: true})
			return found["network/block"].Severity == Problem
		})
		wants(t, found, "server/proxy", Warning, "MULTI")
		wants(t, found, "network/block", Problem, "holds up others")
		if !r.Server.Proxy {
			t.Errorf("%+v", r.Server)
		}
	})
	t.Run("connections in turn", func(t *testing.T) {
		e := &examination{rdb: at(t, multiplexer(t, server.Addr(), 2)), report: new(Report)}
		if err := errors.Join(e.identify(t.Context()), e.addresses(t.Context())); err != nil || !e.report.Server.Proxy {
			t.Errorf("%v, %+v", err, e.report)
		}
	})
	t.Run("cuts at some commands", func(t *testing.T) {
		addr := multiplexer(t, server.Addr(), 2, "info", "xread")
		_, found := examined(t, at(t, addr), Options{})
		wants(t, found, "network/cut", Problem, "does not know a command")
		wants(t, found, "network/block", Problem, "fails")
		wants(t, found, "promises", Note, "was cut")
	})
}

// The address of a Sentinel is no server for streams; the master that it names is.
func TestSentinel(t *testing.T) {
	sentinel := redistest.StartSentinel(t, 0)
	rdb, err := redisio.Connect(t.Context(), sentinel.URL(), redisio.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	r, found := examined(t, rdb, Options{Quick: true})
	if r.Server.Mode != "sentinel" || r.Server.Role != "master" {
		t.Errorf("%+v", r.Server)
	}
	quiet(t, rdb, found)
	wants(t, found, "network/block", Fine, "")
	_, found = examined(t, at(t, sentinel.Addrs()[0]), Options{})
	wants(t, found, "server/role", Problem, "master_name")
	wants(t, found, "promises", Note, "not checked")
	for check, f := range found {
		if f.Severity >= Warning && check != "server/role" {
			t.Errorf("what follows from the role is no finding of its own: %+v", f)
		}
	}
}
