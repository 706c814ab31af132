package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/operators/window"
)

// plain computes the same figures by plain loops over the views, in the order in which they arrive.
type plain struct {
	minutes  map[time.Time][]View
	sessions []Session
	late     int
}

// check compares the board with plain loops over the views. It prints the comparison, and returns an
// error if they differ.
func check(ctx context.Context, out io.Writer, rdb redis.UniversalClient, s streams, b *board, views []View) error {
	want, got := compute(views), b.state()
	var wrong []error
	differ := func(what string, got, want any) {
		wrong = append(wrong, fmt.Errorf("%s: %v, a plain loop has %v", what, got, want))
	}
	for _, m := range got.Minutes {
		in := want.minutes[m.Start.UTC()]
		at := m.Start.UTC().Format("15:04")
		if m.N != len(in) || m.Pane != window.OnTime {
			differ("views at "+at, fmt.Sprint(m.N, " ", m.Pane), len(in))
		}
		if n := distinct(in); math.Abs(float64(m.Value.Visitors)-float64(n)) > 1+0.03*float64(n) {
			differ("visitors at "+at, m.Value.Visitors, n)
		}
		if r := rank(in, m.Value.P95); math.Abs(r-0.95) > 0.01+1/float64(max(len(in), 1)) { // between two values
			differ("p95 at "+at, m.Value.P95, fmt.Sprintf("%.1f %% of the views up to there", 100*r))
		}
		if t := top(in, 5); !slices.Equal(m.Value.Top, t) {
			differ("top pages at "+at, m.Value.Top, t)
		}
	}
	if len(got.Minutes) != len(want.minutes) {
		differ("minutes", len(got.Minutes), len(want.minutes))
	}
	if !slices.EqualFunc(b.sorted(), want.sessions, func(a, b Session) bool {
		return a.Key == b.Key && a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.Value == b.Value
	}) {
		differ("sessions", len(b.sorted()), len(want.sessions))
	}
	if late := rdb.XLen(ctx, s.late).Val(); late != int64(want.late) {
		differ("late views", late, want.late)
	}
	fmt.Fprintf(out, "views     %d in %d minutes, %d late\nsessions  %d\n", len(views), len(want.minutes), want.late,
		len(want.sessions))
	if len(wrong) > 0 {
		return fmt.Errorf("the figures differ from those of plain loops:\n%w", errors.Join(wrong...))
	}
	fmt.Fprintln(out, "result    equals plain loops over the same views")
	return nil
}

// sorted returns the sessions by user and time.
func (b *board) sorted() []Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Values(b.sessions), byUser)
}

func byUser(a, b Session) int { return cmp.Or(cmp.Compare(a.Key, b.Key), a.Start.Compare(b.Start)) }

func compute(views []View) plain {
	p := plain{minutes: make(map[time.Time][]View)}
	open := make(map[string][]time.Time) // views of sessions that have not ended
	var low time.Time                    // no view on time is older
	for _, v := range views {
		if start := v.At.UTC().Truncate(time.Minute); start.Add(time.Minute).After(low) {
			p.minutes[start] = append(p.minutes[start], v)
		} else {
			p.late++
		}
		joins := slices.ContainsFunc(open[v.User], func(at time.Time) bool { return v.At.Sub(at).Abs() < gap })
		if joins || v.At.Add(gap).After(low) {
			open[v.User] = append(open[v.User], v.At)
		}
		if at := v.At.Add(-slack); at.After(low) {
			low = at
			for user, times := range open {
				open[user] = p.close(user, times, low)
			}
		}
	}
	for user, times := range open {
		p.close(user, times, low.Add(1000*time.Hour))
	}
	slices.SortFunc(p.sessions, byUser)
	return p
}

// close records the sessions of a user that have ended, and returns the views of the others.
func (p *plain) close(user string, times []time.Time, low time.Time) (left []time.Time) {
	slices.SortFunc(times, time.Time.Compare)
	for from := 0; from < len(times); {
		to := from + 1
		for to < len(times) && times[to].Sub(times[to-1]) < gap {
			to++
		}
		end := times[to-1].Add(gap)
		if end.After(low) {
			left = append(left, times[from:to]...)
		} else {
			p.sessions = append(p.sessions, Session{Key: user, Start: times[from], End: end, Value: to - from})
		}
		from = to
	}
	return left
}

func distinct(views []View) int {
	users := make(map[string]bool)
	for _, v := range views {
		users[v.User] = true
	}
	return len(users)
}

// rank returns the share of views that took at most ms.
func rank(views []View, ms float64) float64 {
	n := 0
	for _, v := range views {
		if v.Ms <= ms {
			n++
		}
	}
	return float64(n) / float64(max(len(views), 1))
}

func top(views []View, k int) []window.Ranked[string] {
	counts := make(map[string]int)
	for _, v := range views {
		counts[v.Page]++
	}
	var all []window.Ranked[string]
	for _, page := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, window.Ranked[string]{Value: page, N: counts[page]})
	}
	slices.SortStableFunc(all, func(a, b window.Ranked[string]) int { return b.N - a.N })
	return all[:min(k, len(all))]
}
