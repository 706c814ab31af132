package faulttest

import (
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Faults of the connections between the workers and the server.
var networkScenarios = []Scenario{
	{
		ID:   "R2",
		What: "2 % of all requests are cut: before the server acts, half sent, before the reply, within the reply",
		run:  cutConnections,
	},
	{ID: "R13", What: "CLIENT KILL TYPE normal every 200 ms", run: killConnections},
	{ID: "R2 latency", What: "20 ms of latency each way, and 256 KiB/s", run: slowNetwork},
}

// cutConnections is R2.
func cutConnections(t *trial) {
	s := t.server()
	p := proxyTo(t, s.Addr())
	share := 0.02
	if t.job.URL = p.URL(); !t.o.Long {
		share = 0.06 // the short form has few requests
	}
	p.CutRandomly(t.o.Seed, share)
	for how := redistest.CutRequest; how <= redistest.CutHalfReply; how++ {
		t.needs[how.String()] = t.sized(5, 100)
	}
	for _, kind := range []string{"read", "write", "ack"} {
		t.needs["cut of "+kind] = t.sized(3, 50)
	}
	t.load(4, func() { <-t.over.Done() }) // the proxy injects the faults
	p.CutRandomly(t.o.Seed, 0)
	t.down(500 * time.Millisecond) // a reader that is cut repeatedly backs off longer each time
	t.settle()
	p.excuse(t)
	t.conclude()
}

// slowNetwork runs a single worker on a slow connection. It must lose nothing and keep its order.
func slowNetwork(t *trial) {
	s := t.server()
	p := proxyTo(t, s.Addr())
	delay := 20 * time.Millisecond
	if t.o.quick {
		delay = time.Millisecond // hand-written workers handle one message at a time
	}
	p.Shape(redistest.Traffic{Latency: delay, Bandwidth: 256 << 10})
	t.job.URL = p.URL()
	t.ordered = true
	t.job.InFlight, t.job.Work = 512, 0
	t.usual(1, nil)
	t.fault("ms of latency", 20)
}

// killConnections is R13.
func killConnections(t *trial) {
	t.server()
	const kind, workers = "CLIENT KILL of all connections", 3
	t.needs[kind] = t.sized(20, 150)
	base := 0
	t.load(workers, func() {
		t.pool.work()
		base = connections(t)
		t.every(180*time.Millisecond, 220*time.Millisecond, func() {
			if t.in.Do(t.ctx, "client", "kill", "type", "normal", "skipme", "yes").
				Err() ==
				nil { // otherwise the last kill closed our own connection
				t.fault(kind, 1)
				t.allow(workers * t.job.InFlight)
				t.flows(t.prog.count())
			}
		})
	})
	t.down(500 * time.Millisecond)
	t.settle()
	if n := connections(t); n > base+2*workers {
		t.find(kindLeak, "workers hold %d connections, after %d before the storm", n, base)
	}
	t.conclude()
}

// connections returns the number of client connections, without the harness' own.
func connections(t *trial) (n int) {
	var list string
	var err error
	for range 20 { // our own connections are killed too
		if list, err = t.in.ClientList(t.ctx).Result(); err == nil {
			break
		}
		t.pause(10 * time.Millisecond)
	}
	t.must(err)
	for line := range strings.Lines(list) {
		if !strings.Contains(line, " name="+harness+" ") && !strings.Contains(line, "flags=M") &&
			!strings.Contains(line, "flags=S") {
			n++
		}
	}
	return n
}
