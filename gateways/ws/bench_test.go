package ws_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/ws"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// crowd is many clients that count their messages cheaply, by a byte that each message contains
// once.
type crowd struct {
	conns []net.Conn
	got   atomic.Int64
	want  atomic.Int64
	all   chan struct{} // holds a token when got has reached want
	wg    sync.WaitGroup
}

const mark = "#"

// open opens sockets at an address, sends a first frame on each, and waits until all are answered.
func (c *crowd) open(b testing.TB, addr, hello string, n int) {
	b.Helper()
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		c.conns = append(c.conns, conn)
		fmt.Fprintf(
			conn,
			"GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "+
				"13\r\nSec-WebSocket-Key: %s\r\n\r\n",
			addr,
			base64.StdEncoding.EncodeToString(make([]byte, 16)),
		)
		br := bufio.NewReaderSize(conn, 256)
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != 101 {
			b.Fatalf("handshake: %v, %v", res, err)
		}
		_, _ = conn.Write(append(header(0x81, len(hello)), hello...))
		var h [4]byte
		if _, err := io.ReadFull(br, h[:2]); err != nil {
			b.Fatal(err)
		}
		size := int(h[1])
		if size == 126 {
			_, _ = io.ReadFull(br, h[2:])
			size = int(h[2])<<8 | int(h[3])
		}
		if _, err := br.Discard(size); err != nil {
			b.Fatal(err)
		}
	}
}

// listen counts messages from now on.
func (c *crowd) listen() {
	c.all = make(chan struct{}, 1)
	for _, conn := range c.conns {
		c.wg.Go(func() {
			buf := make([]byte, 4<<10)
			for {
				n, err := conn.Read(buf)
				if k := int64(bytes.Count(buf[:n], []byte(mark))); k > 0 && c.got.Add(k) >= c.want.Load() {
					select {
					case c.all <- struct{}{}:
					default:
					}
				}
				if err != nil {
					return
				}
			}
		})
	}
}

// expect makes until wait for n more messages.
func (c *crowd) expect(n int) { c.want.Add(int64(n)) }

func (c *crowd) until() {
	for c.got.Load() < c.want.Load() {
		<-c.all
	}
}

func (c *crowd) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.wg.Wait()
}

// spent returns the CPU time of this process.
func spent() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, sockets int, from time.Duration) {
	b.ReportMetric(float64(b.N)*float64(sockets)/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64((spent()-from).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkBroadcast sends a message to 1,000 sockets. It compares the hub with a hand-written loop
// over 1,000 connections of coder/websocket, which does not use Redis. One op is one message to all
// sockets. Compare two lines with the same burst, the number of messages sent at once. cpu-µs/op
// includes the clients, and varies less on a busy machine.
func BenchmarkBroadcast(b *testing.B) {
	const sockets = 1000
	text := strings.Repeat("x", 99) + mark
	for _, burst := range []int{1, 16} {
		b.Run(fmt.Sprintf("burst=%d/by=hand", burst), func(b *testing.B) {
			var mu sync.Mutex
			var conns []*websocket.Conn
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, err := websocket.Accept(w, r, nil)
				if err != nil {
					return
				}
				if _, _, err := conn.Read(context.Background()); err != nil {
					return
				}
				_ = conn.Write(context.Background(), websocket.MessageText, []byte("{}"))
				mu.Lock()
				conns = append(conns, conn)
				mu.Unlock()
				_, _, _ = conn.Read(context.Background())
			}))
			defer srv.Close()
			var c crowd
			defer c.close()
			c.open(b, srv.Listener.Addr().String(), "{}", sockets)
			redistest.Soon(
				b,
				"all are known",
				func() bool { mu.Lock(); defer mu.Unlock(); return len(conns) == sockets },
			)
			c.listen()
			payload := fmt.Appendf(
				nil,
				`{"kind":"msg","cursor":"1732360000000-0","room":"lobby","type":"said","data":{"n":0,"text":%q}}`,
				text,
			)
			began := spent()
			b.ResetTimer()
			for i := 0; i < b.N; i += burst {
				k := min(burst, b.N-i)
				c.expect(k * sockets)
				for range k {
					for _, conn := range conns {
						if err := conn.Write(context.Background(), websocket.MessageText, payload); err != nil {
							b.Fatal(err)
						}
					}
				}
				c.until()
			}
			report(b, sockets, began)
		})
		b.Run(fmt.Sprintf("burst=%d/by=ws", burst), func(b *testing.B) {
			s := newStand(b)
			n := s.node(b, ws.HubConfig{})
			var c crowd
			defer c.close()
			c.open(b, n.srv.Listener.Addr().String(), `{"kind":"hello","rooms":["lobby"]}`, sockets)
			c.listen()
			from, inbox := source.Queue[ws.Message[said]](1000)
			run, err := flow.New("tell", flow.To(from, ws.Outbound[said](s.rdb, s.name,
				sink.StreamConfig[ws.Message[said]]{}))).
				Start(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			defer run.Drain(context.Background())
			m := room("lobby", 0)
			m.Value.Text = text
			began := spent()
			b.ResetTimer()
			for i := 0; i < b.N; i += burst {
				k := min(burst, b.N-i)
				c.expect(k * sockets)
				for range k {
					if err := inbox.Offer(context.Background(), m); err != nil {
						b.Fatal(err)
					}
				}
				c.until()
			}
			report(b, sockets, began)
		})
	}
}

// BenchmarkIdle holds 10,000 idle sockets, with their clients in another process. It reports the
// cost of each: memory of heap and stacks, and goroutines.
func BenchmarkIdle(b *testing.B) {
	const sockets = 10_000
	for range b.N {
		s := newStand(b)
		n := s.node(b, ws.HubConfig{})
		before, goroutines := inUse(), runtime.NumGoroutine()
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crowdEnv+"="+n.srv.Listener.Addr().String()+" "+strconv.Itoa(sockets))
		child.Stderr = os.Stderr
		stay, err := child.StdinPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			b.Fatal(err)
		}
		limit := time.Now().Add(2 * time.Minute)
		for n.hub.Stats().Sockets < sockets || n.hub.Stats().Rooms < 1 || n.hub.Stats().Received < sockets {
			if time.Now().After(limit) {
				b.Fatalf("%+v", n.hub.Stats())
			}
			runtime.Gosched()
		}
		redistest.Soon(b, "all are quiet", func() bool { return runtime.NumGoroutine()-goroutines <= sockets+10 })
		b.ReportMetric(float64(inUse()-before)/sockets, "B/socket")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/sockets, "goroutines/socket")
		_ = stay.Close()
		_ = child.Wait()
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// crowdEnv makes the test binary run the clients of BenchmarkIdle until its stdin ends.
const crowdEnv = "WS_TEST_CROWD"

func crowdMain(arg string) {
	addr, n, _ := strings.Cut(arg, " ")
	count, _ := strconv.Atoi(n)
	var group sync.WaitGroup
	parts := make([]crowd, 8)
	for i := range parts {
		group.Go(func() { parts[i].open(fatal{}, addr, `{"kind":"hello","rooms":["lobby"]}`, count/len(parts)) })
	}
	group.Wait()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark ends
	runtime.KeepAlive(parts)
}

// fatal is the part of a testing.TB that a crowd needs.
type fatal struct{ testing.TB }

func (fatal) Helper() {}
func (fatal) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}
func (f fatal) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }
