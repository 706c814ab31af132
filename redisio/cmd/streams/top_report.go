package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
)

// report is what top reads of the report that a process publishes with gateways/inspect. A test
// compares it with a report of that package.
type report struct {
	App     string        `json:"app"`
	Process string        `json:"process"` // its id
	Host    string        `json:"host"`
	PID     int           `json:"pid"`
	Started time.Time     `json:"started"`
	At      time.Time     `json:"at"`
	Graphs  []graphReport `json:"graphs"`
	Parts   []partReport  `json:"parts"`
	Omitted int           `json:"omitted"` // graphs and parts that are left out
}

type graphReport struct {
	Snapshot snapshot `json:"snapshot"`
}

// snapshot is the state of a graph. Durations are nanoseconds. Counts are since the start.
type snapshot struct {
	Graph      string           `json:"graph"`
	State      string           `json:"state"`
	Uptime     time.Duration    `json:"uptime"`
	Sources    []sourceSnapshot `json:"sources"`
	Stages     []stageSnapshot  `json:"stages"`
	Failure    string           `json:"failure"`
	Bottleneck *bottleneck      `json:"bottleneck"`
}

type sourceSnapshot struct {
	Name        string        `json:"name"`
	MaxInFlight int           `json:"max_in_flight"`
	InFlight    int           `json:"in_flight"`
	Read        uint64        `json:"read"`
	Settled     uint64        `json:"settled"`
	Dead        uint64        `json:"dead"`
	Oldest      time.Duration `json:"oldest"`
	Lag         int64         `json:"lag"`     // -1: unknown
	Pending     int64         `json:"pending"` // -1: unknown
}

type stageSnapshot struct {
	Name     string         `json:"name"`
	Workers  int            `json:"workers"`
	Faults   uint64         `json:"faults"`
	Restarts uint64         `json:"restarts"`
	Busy     *time.Duration `json:"busy"` // nil: not measured
	Retrying time.Duration  `json:"retrying"`
}

type bottleneck struct {
	Stage string        `json:"stage"`
	Stuck time.Duration `json:"stuck"` // 0: it is not
}

// partReport is a service, a client, a route, a hub or a handler of events.
type partReport struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Figures []figure `json:"figures"`
	Took    []uint64 `json:"took"` // calls up to each of gateways.CallBounds, and at the end those above
}

type figure struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
	Now   bool   `json:"now"` // a current value; else a count
	Bad   bool   `json:"bad"` // it should not grow
}

// Where and how processes publish: a sorted set has their ids by the time of their last report, in
// milliseconds of the server's clock.
const (
	publishedBefore = "inspect:{"
	indexAfter      = "}:processes"
	reportAfter     = "}:report:"
	maxPublishers   = 200
	maxReportBytes  = 2 << 20
	goneAfter       = 7 * time.Second
)

// accessToTop returns the rights to watch an application.
func accessToTop(app string) redisio.Access {
	return redisio.Access{
		Commands: []string{"get", "ping", "scan", "time", "zrevrange"},
		Reads:    []string{redisio.KeyPattern(publishedBefore+app+"}:") + "*"},
	}.Apart()
}

// publishers returns the names of the applications that publish reports.
func publishers(ctx context.Context, rdb redis.UniversalClient) (apps []string, err error) {
	scan := func(ctx context.Context, node *redis.Client) error {
		for cursor := uint64(0); ; {
			keys, next, err := node.ScanType(ctx, cursor, publishedBefore+"*"+indexAfter, 1000, "zset").Result()
			if err != nil {
				return fmt.Errorf("look for applications: %w", err)
			}
			for _, key := range keys {
				apps = append(apps, strings.TrimSuffix(strings.TrimPrefix(key, publishedBefore), indexAfter))
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	switch c := rdb.(type) {
	case *redis.Client:
		err = scan(ctx, c)
	case *redis.ClusterClient:
		all := make(chan *redis.Client, 1000) // ForEachMaster runs concurrently
		err = c.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error { all <- node; return nil })
		close(all)
		for node := range all {
			err = cmp.Or(err, scan(ctx, node))
		}
	}
	slices.Sort(apps)
	return slices.Compact(apps), err
}

// application has the newest reports of the processes of an application.
type application struct {
	name      string
	processes map[string]*process
}

// process is a process that publishes. reports has its newest reports, the newest last.
type process struct {
	id      string
	reports []*report
	score   float64
	age     time.Duration // of the newest report
	gone    bool
}

// Rates compare the newest report with that two before it.
const (
	keptReports = 3
	tooOld      = 30 * time.Second // to compare with
)

func newApplication(name string) *application {
	return &application{name: name, processes: make(map[string]*process)}
}

// refresh reads the reports that are newer than those it has.
func (a *application) refresh(ctx context.Context, rdb redis.UniversalClient) error {
	pipe := rdb.Pipeline()
	index := pipe.ZRevRangeWithScores(ctx, publishedBefore+a.name+indexAfter, 0, maxPublishers-1)
	clock := pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("read the processes of application %q: %w", a.name, err)
	}
	listed, newer := make(map[string]float64), make(map[string]*redis.StringCmd)
	for _, z := range index.Val() {
		id, _ := z.Member.(string)
		listed[id] = z.Score
		if p := a.processes[id]; p == nil || p.score != z.Score {
			newer[id] = pipe.Get(ctx, publishedBefore+a.name+reportAfter+id)
		}
	}
	for id := range a.processes {
		if _, ok := listed[id]; !ok {
			delete(a.processes, id) // it has ended
		}
	}
	if len(newer) > 0 {
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read the reports of application %q: %w", a.name, err)
		}
	}
	for id, reply := range newer {
		if r := unpackReport(reply.Val()); r != nil && r.Process == id {
			a.put(id, r, listed[id])
		}
	}
	for id, p := range a.processes {
		p.age = max(0, time.Duration(float64(clock.Val().UnixMilli())-listed[id])*time.Millisecond)
		p.gone = p.age > goneAfter
	}
	return nil
}

func (a *application) put(id string, r *report, score float64) {
	p := a.processes[id]
	if p == nil {
		p = &process{id: id}
		a.processes[id] = p
	}
	if n := len(p.reports); n > 0 && r.At.Sub(p.reports[n-1].At) > tooOld {
		p.reports = nil
	}
	p.score, p.reports = score, append(p.reports, r)
	p.reports = p.reports[max(0, len(p.reports)-keptReports):]
}

// measured reports whether each process that is alive has two reports, which give rates.
func (a *application) measured() bool {
	for _, p := range a.processes {
		if !p.gone && len(p.reports) < 2 {
			return false
		}
	}
	return true
}

// sorted returns the processes, the oldest first.
func (a *application) sorted() []*process {
	all := make([]*process, 0, len(a.processes))
	for _, p := range a.processes {
		all = append(all, p)
	}
	slices.SortFunc(all, func(x, y *process) int {
		return cmp.Or(x.newest().Started.Compare(y.newest().Started), cmp.Compare(x.id, y.id))
	})
	return all
}

func (p *process) newest() *report { return p.reports[len(p.reports)-1] }

// before returns the report to compare the newest with, or nil.
func (p *process) before() *report {
	if len(p.reports) < 2 {
		return nil
	}
	return p.reports[0]
}

// unpackReport reads a report. It returns nil for anything else: any program may write the key.
func unpackReport(packed string) *report {
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		return nil
	}
	var text bytes.Buffer
	if n, err := io.CopyN(&text, z, maxReportBytes+1); !errors.Is(err, io.EOF) || n > maxReportBytes {
		return nil
	}
	r := new(report)
	if json.Unmarshal(text.Bytes(), r) != nil {
		return nil
	}
	return r
}
