package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/streamerson/streamerson-go/redisio/admin"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// groupLine is a group of a stream, as Redis alone knows it. Rates are per second.
type groupLine struct {
	jsonGroup
	Length   int64   `json:"length"`
	Measured bool    `json:"measured"`
	Added    float64 `json:"addedRate"`
	Read     float64 `json:"readRate"`

	read int64 // delivered since the beginning; 0: unknown
	at   time.Time
}

// streamsView has the streams with groups, and the earlier state to compare with.
type streamsView struct {
	pattern string
	hint    bool // say how to see more
	keys    []string
	scanned time.Time
	more    bool
	reads   int
	was     map[[2]string]groupLine
	groups  []groupLine
}

const (
	rescanEvery = 30 * time.Second // a scan visits all keys of the server
	maxStreams  = 100              // shown; each is asked by itself
)

// refresh reads the state of the groups.
func (v *streamsView) refresh(ctx context.Context, c *call) error {
	if v.scanned.IsZero() || time.Since(v.scanned) > rescanEvery {
		if err := v.scan(ctx, c); err != nil {
			return err
		}
	}
	now := make(map[[2]string]groupLine)
	groups := make([]groupLine, 0, len(v.groups))
	for _, key := range v.keys {
		states, err := admin.Groups(ctx, c.rdb, key)
		if fault.Judge(err) == fault.LostGroup {
			continue // deleted meanwhile
		} else if err != nil {
			return err
		}
		at := time.Now()
		for _, g := range states {
			line := groupLine{jsonGroup: asJSON(key, g), Length: g.Length, read: g.Read, at: at}
			line.compare(v.was[[2]string{key, g.Name}])
			now[[2]string{key, g.Name}] = line
			groups = append(groups, line)
		}
	}
	v.was, v.groups, v.reads = now, groups, v.reads+1
	return nil
}

func (v *streamsView) measured() bool { return len(v.groups) == 0 || v.reads > 1 }

// compare computes the rates since an earlier state, which may be empty.
func (l *groupLine) compare(was groupLine) {
	seconds := l.at.Sub(was.at).Seconds()
	if was.at.IsZero() || seconds <= 0 || l.read < was.read || l.read == 0 && l.Position != "0-0" {
		return
	}
	l.Measured, l.Read = true, float64(l.read-was.read)/seconds
	l.Added = max(0, float64(l.read+l.Lag-was.read-was.Lag)/seconds)
}

// scan looks for streams that have groups.
func (v *streamsView) scan(ctx context.Context, c *call) error {
	var found []string
	for key, err := range admin.Streams(ctx, c.rdb, v.pattern) {
		if err != nil {
			return err
		}
		found = append(found, key)
	}
	slices.Sort(found)
	v.keys, v.more = nil, false
	for keys := range slices.Chunk(slices.Compact(found), 100) {
		states, err := admin.InspectStreams(ctx, c.rdb, keys...)
		if err != nil {
			return err
		}
		for _, s := range states {
			if v.more = v.more || s.Groups > 0 && len(v.keys) == maxStreams; v.more {
				break
			}
			if s.Groups > 0 {
				v.keys = append(v.keys, s.Key)
			}
		}
	}
	v.scanned = time.Now()
	return nil
}

// howToPublish says how top shows more than Redis knows.
const howToPublish = "no application publishes its graphs here; to show them, let each process run a page:\n" +
	`    page := inspect.New(rdb, show, inspect.Config{App: "shop"}) // gateways/inspect, gateways/parts` + "\n" +
	"    app.Run(ctx, server, page)                                  // publishes every 2s"

func (v *streamsView) frame(o *topOptions) (f frame) {
	what := "streams with groups"
	if v.pattern != "" {
		what += fmt.Sprintf(" like %q", v.pattern)
	}
	f.line(plain, "%s: %d", what, len(v.keys))
	if len(v.groups) > 0 {
		f.line(plain, "")
		f.table(v.rows(o))
	}
	if v.more {
		f.line(plain, "")
		f.line(plain, "first %d streams only: name a pattern", maxStreams)
	}
	if v.hint {
		f.line(plain, "")
		f = append(f, shownLines(faint, howToPublish)...)
	}
	return f
}

func (v *streamsView) rows(o *topOptions) []tableRow {
	rows := []tableRow{{tone: heading, cells: []string{"STREAM", "GROUP", "ENTRIES", "ADDED/s", "READ/s", "LAG",
		"OLDEST UNREAD", "PENDING", "OLDEST PENDING", "CONSUMERS"}}}
	groups := slices.Clone(v.groups)
	slices.SortStableFunc(groups, func(a, b groupLine) int { return o.compareGroups(&a, &b) })
	for _, g := range groups {
		rows = append(rows, tableRow{cells: []string{
			g.Key, g.Group, num(g.Length), rateOf(g.Measured, g.Added), rateOf(g.Measured, g.Read),
			atLeast(g.Lag, g.LagAtLeast), shortOf(g.UnreadAge > 0, time.Duration(g.UnreadAge)*time.Millisecond),
			num(g.Pending), shortOf(g.Oldest != "", time.Duration(g.OldestAge)*time.Millisecond),
			num(int64(len(g.Consumers))),
		}})
	}
	return rows
}
