package app_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/app"
	"github.com/streamerson/streamerson-go/gateways/web"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

// diary records events in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) want(t *testing.T, lines ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, lines) {
		t.Errorf("got  %q\nwant %q", d.lines, lines)
	}
}

// part runs until its context is done, and takes a while to start and to end.
type part struct {
	*diary
	name  string
	since func() time.Duration
	ready time.Duration
	err   error
	runs  atomic.Bool
}

func (d *diary) part(name string) *part {
	begin := time.Now()
	return &part{diary: d, name: name, since: func() time.Duration { return time.Since(begin) }}
}

func (p *part) Run(ctx context.Context) error {
	p.note(p.name + " starts")
	p.runs.Store(true)
	if p.err != nil {
		return p.err
	}
	<-ctx.Done()
	p.note(p.name + " ending")
	time.Sleep(time.Second)
	p.note(p.name + " ended")
	return nil
}

func (p *part) Ready() error {
	if !p.runs.Load() || p.since() < p.ready {
		return errors.New("not yet")
	}
	return nil
}

func TestFault_O6_PartsStartInOrderAndEndInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := &diary{}
		first := d.part("first")
		first.ready = time.Minute
		closing := app.Closing(func(ctx context.Context) error {
			d.note("client closed")
			return ctx.Err()
		})
		last := app.Func(func(ctx context.Context) error {
			d.note("last starts")
			cancel()
			<-ctx.Done()
			d.note("last ended")
			return nil
		})
		if err := app.Run(ctx, first, closing, last); err != nil {
			t.Error(err)
		}
		if first.since() < time.Minute {
			t.Error("the parts behind the first did not wait until it was ready")
		}
		d.want(t, "first starts", "last starts", "last ended", "client closed", "first ending", "first ended")
	})
}

func TestFault_O6_AFailureEndsAllInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, boom := &diary{}, errors.New("boom")
		bad := d.part("bad")
		bad.err = boom
		never := d.part("never")
		never.ready = time.Hour
		if err := app.Run(t.Context(), d.part("a"), d.part("b"), bad, app.Func(func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("so did I")
		})); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
		d.want(t, "a starts", "b starts", "bad starts", "b ending", "b ended", "a ending", "a ended")
	})
}

// When a graph ends by itself, the other parts keep running. Run returns after the last part has
// ended.
func TestFault_O6_FiniteGraphs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		finite := func(name string) *flow.Graph {
			return flow.New(name, flow.To(source.Of(1, 2, 3), sink.Discard[int]()))
		}
		if err := app.Run(ctx, finite("one"), finite("two")); err != nil || time.Since(began) > time.Minute {
			t.Errorf("finite graphs: %v after %v", err, time.Since(began))
		}
		if err := app.Run(ctx, finite("three"), (&diary{}).part("other")); err != nil || ctx.Err() == nil {
			t.Errorf("with another part: %v, context %v", err, ctx.Err())
		}
	})
}

func TestFault_O6_MistakesAreFoundBeforeAnythingStarts(t *testing.T) {
	d := &diary{}
	err := app.Run(t.Context(), d.part("a"), flow.New("empty"), nil)
	if err == nil || !strings.Contains(err.Error(), "it has no branches") ||
		!strings.Contains(err.Error(), "part 3 is nil") {
		t.Errorf("got %v", err)
	}
	taken, failed := net.Listen("tcp", "127.0.0.1:0")
	if failed != nil {
		t.Fatal(failed)
	}
	defer taken.Close()
	free := &app.Server{Addr: "127.0.0.1:0", Handler: http.NotFoundHandler()}
	busy := &app.Server{Addr: taken.Addr().String(), Handler: http.NotFoundHandler()}
	var in *web.ListenError
	if err := app.Run(t.Context(), d.part("b"), free, busy); !errors.As(err, &in) {
		t.Errorf("an address in use: %v", err)
	}
	d.want(t)
}

// The server finishes a request that needs the part before it to be answered.
func TestFault_O6_RequestsAreFinishedFirst(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked, answers := make(chan struct{}), make(chan string)
	backend := app.Func(func(ctx context.Context) error {
		<-asked
		cancel()                // the program ends while the request is under way
		answers <- "I am there" // blocks forever if the server has given up
		<-ctx.Done()
		return nil
	})
	url := make(chan string, 1)
	server := &app.Server{Addr: "127.0.0.1:0", Listening: func(u string) { url <- u },
		Config: web.ServerConfig{HeaderTimeout: redistest.Patience, StopTimeout: redistest.Patience},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(asked)
			_, _ = w.Write([]byte(<-answers))
		})}
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, backend, server) }()
	answer, err := http.Get(<-url)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %d", answer.StatusCode)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

const childEnv = "STREAMERSON_TEST_APP"

// child is a program with a handler that ends only when the program is stopped.
func child() {
	app.Main("child", func(ctx context.Context) error {
		all := make(chan struct{})
		stuck := sink.Func(func(ctx context.Context, _ int) error {
			<-all
			os.Stdout.WriteString("handling\n")
			<-ctx.Done() // a drain does not cancel handlers
			os.Stdout.WriteString("handler cancelled\n")
			return ctx.Err()
		})
		return app.Run(ctx, flow.New("stuck", flow.To(source.Of(1), stuck)), app.Func(func(ctx context.Context) error {
			close(all)
			<-ctx.Done()
			os.Stdout.WriteString("ending\n")
			return nil
		}))
	})
}

// The first interrupt ends the program in order. Further signals of the same key press change
// nothing. The second interrupt stops everything at once.
func TestFault_O6_Interrupts(t *testing.T) {
	for range 10 {
		if interrupted(t) {
			return
		}
	}
	t.Error("two signals at once are always two key presses")
}

// interrupted interrupts a program by two key presses. It returns false if a busy machine has delayed the second
// signal of the first press for so long that it was a press of its own.
func interrupted(t *testing.T) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			lines <- in.Text()
		}
	}()
	says := func(wanted ...string) string {
		t.Helper()
		line := <-lines
		if !slices.Contains(wanted, line) {
			t.Fatalf("the program says %q, want one of %q", line, wanted)
		}
		return line
	}
	signal := func(s os.Signal) {
		t.Helper()
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	says("handling")
	signal(os.Interrupt)
	signal(syscall.SIGTERM)
	early := says("ending", "handler cancelled") != "ending"
	select {
	case <-lines:
		early = true
	case <-time.After(250 * time.Millisecond): // later signals are another key press
		early = early || cmd.Process.Signal(os.Interrupt) != nil
	}
	if !early {
		says("handler cancelled")
	}
	for line := range lines {
		if !early {
			t.Errorf("the program also says %q", line)
		}
	}
	err = cmd.Wait()
	n := strings.Count(stderr.String(), "interrupted again")
	if died := (*exec.ExitError)(nil); early || errors.As(err, &died) && !died.Exited() && n == 1 {
		return false // the last signal was the third, which ends the process
	}
	if err != nil {
		t.Errorf("it ended with %v\n%s", err, &stderr)
	}
	if n != 1 {
		t.Errorf("interrupted again %d times:\n%s", n, &stderr)
	}
	return true
}
