package inspect

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// level is how much attention something needs.
type level int

const (
	fine   level = iota
	notice       // not as it was meant to run, but nothing is wrong
	warn         // to be looked at
	bad          // messages do not flow
)

// finding is what a person should know about a graph. The worst one is its headline.
type finding struct {
	Level level  `json:"level"`
	Text  string `json:"text"`
}

// Shares of the time.
const (
	busyShare  = 0.9 // a stage that limits the graph
	someShare  = 0.5
	fullShare  = 0.75 // of an edge's places
	quickRate  = 0.05 // messages per second that count as none
	allFail    = 0.9  // of a stage's messages: the counts are not from the same instant
	oldFaults  = time.Minute
	longUnread = 30 * time.Second
)

// findings returns what is to be said about a graph, the worst first.
func (v *graphView) findings() []finding {
	all := slices.Concat(v.life(), v.failures(), v.backlog(), []finding{v.bottleneck()})
	slices.SortStableFunc(all, func(a, b finding) int { return int(b.Level - a.Level) })
	return all
}

// life is about the processes and the states of the graph in them.
func (v *graphView) life() (all []finding) {
	add := func(l level, format string, args ...any) {
		all = append(all, finding{l, fmt.Sprintf(format, args...)})
	}
	states, gone := make(map[string]int), 0
	for _, p := range v.Processes {
		if p.Gone {
			gone++
			continue
		}
		states[p.State]++
		if p.Failure != "" {
			add(bad, "It stopped: %s", short(p.Failure))
		}
		for _, s := range p.Stuck {
			add(warn, "The drain waits for %s.", s)
		}
	}
	alive := len(v.Processes) - gone
	if gone > 0 {
		add(warn, "%s gone without a goodbye.", count(gone, "process is", "processes are"))
	}
	if n := states["paused"]; n > 0 {
		add(notice, "Paused%s: its sources do not read.", some(n, alive))
	}
	if n := states["draining"]; n > 0 {
		add(notice, "Draining%s: it finishes what it has read.", some(n, alive))
	}
	if n := states["ended"]; n > 0 && n == alive {
		add(fine, "It has ended.")
	}
	return all
}

// some names a part of the processes.
func some(n, of int) string {
	if n == of {
		return ""
	}
	return fmt.Sprintf(" in %d of %d processes", n, of)
}

// failures is about messages and stages that failed a short time ago.
func (v *graphView) failures() (all []finding) {
	add := func(l level, format string, args ...any) {
		all = append(all, finding{l, fmt.Sprintf(format, args...)})
	}
	for _, s := range v.Stages {
		switch {
		case s.FaultRate > 0 && s.OutRate < quickRate && s.FaultRate >= allFail*s.InRate:
			add(bad, "Every message fails at %s.", s.Name)
		case s.FaultRate > 0:
			add(warn, "Messages fail at %s: %s a second.", s.Name, rate(s.FaultRate))
		}
	}
	restarts := make(map[string]int)
	for _, e := range v.Events {
		if e.Kind == "restart" && v.at.Sub(e.Time) < oldFaults {
			restarts[e.Stage]++
		}
	}
	for _, s := range v.Stages {
		if n := restarts[s.Name]; n > 0 {
			add(warn, "%s failed and was restarted %s in the last minute.", s.Name, count(n, "time", "times"))
		}
	}
	for _, s := range v.Sources {
		if s.DeadRate > 0 {
			add(warn, "Entries of %s go to the dead letters: %s a second.", s.Name, rate(s.DeadRate))
		}
		if s.LostRate > 0 {
			add(warn, "Entries of %s lose their lease before they are done.", s.Name)
		}
	}
	return all
}

// backlog is about sources that fall behind.
func (v *graphView) backlog() (all []finding) {
	for _, s := range v.Sources {
		if s.Lag > 0 && s.LagRate > max(1, s.Rate/20) {
			all = append(all, finding{warn, fmt.Sprintf(
				"%s falls behind: %s entries are unread, and %s more each second.",
				s.Name,
				number(s.Lag),
				rate(s.LagRate),
			)})
		}
		if s.Oldest > 0 && time.Duration(s.Oldest*float64(time.Second)) > longUnread && s.Rate < quickRate &&
			!s.Paused {
			all = append(all, finding{warn, fmt.Sprintf(
				"Nothing of %s has been settled; the oldest entry was read %s ago.", s.Name, span(s.Oldest))})
		}
	}
	return all
}

// bottleneck names the stage to make faster first.
func (v *graphView) bottleneck() finding {
	if v.stuck != "" {
		return finding{bad, "Stuck: " + v.stuck + "."}
	}
	worst, total := v.worst()
	moving := v.Rate >= quickRate ||
		slices.ContainsFunc(v.Stages, func(s stageView) bool { return s.InRate >= quickRate })
	switch {
	case !v.measured:
		return finding{fine, "Measuring…"}
	case worst == nil && !moving, worst != nil && !moving && total < someShare:
		return finding{fine, "Idle: no messages at the moment."}
	case worst == nil:
		return finding{fine, "Messages flow. No stage has been measured yet."}
	}
	v.Bottleneck = worst.Name
	text := fmt.Sprintf("%s is busy %s of the time", worst.label(), percent(worst.busy()))
	if total > worst.busy()+0.05 {
		text += fmt.Sprintf(", its goroutine %s", percent(total))
	}
	full := v.fullInput(worst.Name)
	switch {
	case total >= busyShare && full:
		return finding{warn, text + "; its input is full."}
	case total >= busyShare:
		return finding{notice, text + "."}
	case total >= someShare:
		return finding{fine, text + ". It is the busiest stage."}
	}
	v.Bottleneck = ""
	return finding{fine, fmt.Sprintf("No stage limits it. The busiest, %s, works %s of the time.",
		worst.Name, percent(worst.busy()))}
}

// worst returns the busiest stage of the busiest goroutine, and how busy that goroutine is.
func (v *graphView) worst() (worst *stageView, total float64) {
	lanes := make(map[int]float64)
	for _, s := range v.Stages {
		lanes[s.Lane] += s.busy()
	}
	for i := range v.Stages {
		s := &v.Stages[i]
		if s.Busy == nil {
			continue
		}
		switch all := lanes[s.Lane]; {
		case worst == nil, all > total, all == total && s.busy() > worst.busy():
			worst, total = s, all
		}
	}
	return worst, min(total, 1)
}

// fullInput reports whether the edge before the goroutine of a stage is full.
func (v *graphView) fullInput(stage string) bool {
	lane := -1
	for _, s := range v.Stages {
		if s.Name == stage {
			lane = s.Lane
		}
	}
	in := make(map[string]bool)
	for _, s := range v.Stages {
		in[s.Name] = s.Lane == lane
	}
	return slices.ContainsFunc(v.Links, func(l linkView) bool {
		return l.Edge && in[l.To] && !in[l.From] && l.Heat >= fullShare
	})
}

// label is the stage's name, with its workers.
func (s *stageView) label() string {
	if s.Workers > 1 {
		return fmt.Sprintf("%s (%d workers)", s.Name, s.Workers)
	}
	return s.Name
}

func (s *stageView) busy() float64 {
	if s.Busy == nil {
		return 0
	}
	return *s.Busy
}

// maxWords bounds texts in headlines, in bytes.
const maxWords = 300

func short(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "…"
	}
	return text
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// rate formats a number for each second.
func rate(f float64) string {
	switch {
	case f >= 100:
		return number(int64(f))
	case f >= 10:
		return fmt.Sprintf("%.0f", f)
	case f >= 0.1:
		return fmt.Sprintf("%.1f", f)
	}
	return "less than 0.1"
}

// number formats a count with thin spaces between thousands.
func number(n int64) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// span formats seconds.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	text := d.Round(time.Second).String()
	if whole, ok := strings.CutSuffix(text, "m0s"); ok {
		return whole + "m"
	}
	return text
}
