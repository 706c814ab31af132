package faulttest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The kinds of findings.
const (
	kindLost       = "lost"
	kindDuplicated = "duplicated"
	kindOrder      = "order"
	kindStall      = "stall"
	kindPending    = "pending"
	kindDead       = "dead letters"
	kindLeak       = "leak"
	kindExit       = "exit"
	kindDrain      = "drain"
	kindVoid       = "void"
	kindPromise    = "promise" // a promise of this scenario
	kindAborted    = "aborted" // the trial could not continue
)

// Finding is one violation of a promise.
type Finding struct{ Kind, Text string }

// Result is the result of one trial.
type Result struct {
	ID         string
	What       string
	Seed       uint64
	Messages   int
	Faults     string
	Lost       int
	Duplicated int
	Allowed    int // duplicates that the faults explain
	Order      int // violations of a key's order; -1 if no order is promised
	Stall      time.Duration
	StallMost  time.Duration // the allowed stall
	Findings   []Finding
	Notes      []string
	Took       time.Duration
	Skipped    string // why it was skipped; "" if it ran
}

// Passed reports whether there are no findings.
func (r *Result) Passed() bool { return len(r.Findings) == 0 }

// Found reports whether there is a finding of this kind.
func (r *Result) Found(kind string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == kind })
}

// Verdict returns one word, or the kinds of the findings.
func (r *Result) Verdict() string {
	if r.Skipped != "" {
		return "skipped: " + r.Skipped
	}
	if r.Passed() {
		return "pass"
	}
	var kinds []string
	for _, f := range r.Findings {
		if !slices.Contains(kinds, f.Kind) {
			kinds = append(kinds, f.Kind)
		}
	}
	return "FAIL: " + strings.Join(kinds, ", ")
}

func (t *trial) find(kind, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.findings = append(t.findings, Finding{kind, fmt.Sprintf(format, args...)})
}

// some formats a list of ids, truncated.
func some(ids []int) string {
	const most = 10
	if len(ids) <= most {
		return fmt.Sprint(ids)
	}
	return fmt.Sprintf("%v…", ids[:most])
}

// tally holds judge's counts.
type tally struct{ lost, duplicated, order int }

// verdicts lists the messages that break a promise, or that the server lost.
type verdicts struct {
	lost, unexcused, vanished, undone, dead, poison []int

	dups       int
	duplicated []int // messages with duplicates
}

// judge compares the ledger with the promises.
func (t *trial) judge(l *ledger) {
	var v verdicts
	for id := range t.n {
		t.judgeOne(&v, id, l)
	}
	report := func(kind string, ids []int, text string) {
		if len(ids) > 0 {
			t.find(kind, "%d %s: %s", len(ids), text, some(ids))
		}
	}
	report(kindLost, v.lost, "messages are lost")
	report(kindPromise, v.unexcused, "deleted messages were delivered")
	t.allow(t.lapses())
	if v.dups > t.allowed {
		t.find(kindDuplicated, "%d duplicates, but the faults explain only %d: %s", v.dups, t.allowed,
			some(v.duplicated))
	}
	report(kindDead, v.dead, "messages without a fault are in the dead letters")
	report(kindDead, v.poison, "poisoned messages are in the output, or more than once in the dead letters")
	if t.ordered && l.order > 0 {
		t.find(kindOrder, "%d messages follow a later one of their key", l.order)
	}
	if len(v.vanished) > 0 {
		t.note("the server lost %d messages that it had acknowledged", len(v.vanished))
	}
	if len(v.undone) > 0 {
		t.note("the server lost the outputs of %d messages, which it had acknowledged, and their inputs are acked: %s",
			len(v.undone), some(v.undone))
	}
	t.checkLetters(l)
	t.sum = tally{len(v.lost), v.dups, l.order}
}

// judgeOne adds the verdict on one message.
func (t *trial) judgeOne(v *verdicts, id int, l *ledger) {
	copies, expected := int(l.in[id]), t.prod.acked[id]
	if t.surviving {
		if expected && copies == 0 {
			v.vanished = append(v.vanished, id)
		}
		expected = copies > 0
	}
	if t.republish {
		copies = t.prod.copies(id)
	}
	copies = max(copies, 1)
	out, letters := int(l.out[id]), int(l.dead[id])
	if t.letters && t.prod.poison(id) != "" {
		if expected && letters == 0 {
			v.lost = append(v.lost, id)
		}
		if letters > copies || out > 0 {
			v.poison = append(v.poison, id)
		}
		return
	}
	if letters > 0 {
		v.dead = append(v.dead, id)
	}
	switch {
	case out+letters > 0 || !expected:
		if t.excused[id] {
			v.unexcused = append(v.unexcused, id)
		}
	case t.surviving && t.job.Replicas == 0 && t.prog.timesSeen(id) > 0:
		v.undone = append(v.undone, id)
	case !t.excused[id]:
		v.lost = append(v.lost, id)
	}
	if out > copies {
		v.dups += out - copies
		v.duplicated = append(v.duplicated, id)
	}
}

// checkLetters requires that each dead letter states its origin and its cause.
func (t *trial) checkLetters(l *ledger) {
	for _, d := range l.letters {
		text := func(name string) string { s, _ := d.values[name].(string); return s }
		if !t.letters {
			t.note("dead letter of %d: %s, after %s deliveries", d.id, text("dead:error"), text("dead:attempts"))
			return
		}
		p := t.prod.poison(d.id)
		if entry := t.prod.entry[d.id]; entry != "" && text("dead:id") != entry && l.in[d.id] == 1 {
			t.find(kindDead, "the dead letter of %d names entry %q, want %q", d.id, text("dead:id"), entry)
			return
		}
		says := "poison " + p
		switch p {
		case poisonGarbage:
			says = "" // the decoder's own text
		case poisonHang:
			says = "deadline exceeded"
		}
		if text("dead:error") == "" || !strings.Contains(text("dead:error"), says) || text("dead:key") != t.job.Input {
			t.find(
				kindDead,
				"the dead letter of %d (%s) has error %q and key %q",
				d.id,
				p,
				text("dead:error"),
				text("dead:key"),
			)
			return
		}
	}
}

// result returns the trial's result.
func (t *trial) result() Result {
	for kind, n := range t.needs {
		if t.skipped != "" {
			break
		}
		if did := t.did(kind); did < n {
			t.find(kindVoid, "%d× %s: at least %d are needed to prove anything", did, kind, n)
		}
	}
	r := Result{
		ID:         t.scenario.ID,
		What:       t.scenario.What,
		Seed:       t.o.Seed,
		Messages:   t.n,
		Faults:     t.counted(),
		Order:      -1,
		Allowed:    t.allowed,
		Lost:       t.sum.lost,
		Duplicated: t.sum.duplicated,
		StallMost:  t.stallAllowed(),
	}
	if t.ordered {
		r.Order = t.sum.order
	}
	if t.prog != nil {
		r.Stall = t.prog.stall()
		if r.Stall > r.StallMost {
			t.find(
				kindStall,
				"%v without progress, but only %v are explained",
				r.Stall.Round(time.Millisecond),
				r.StallMost.Round(time.Millisecond),
			)
		}
	}
	if t.prog != nil {
		t.note("the slowest message took %v", t.prog.slowest.Round(10*time.Millisecond))
	}
	if most := t.pool.busiest(); most.Goroutines > 0 {
		t.note(
			"workers: at most %d goroutines, %d MiB, %d entries in flight; they reported %s",
			most.Goroutines,
			most.Resident>>20,
			most.InFlight,
			orNothing(describe(t.pool.events())),
		)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Findings, r.Notes, r.Skipped = t.findings, t.notes, t.skipped
	return r
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
