package faulttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenario is one kind of fault.
type Scenario struct {
	ID       string // such as R1; several of one kind have a second word
	What     string // what the scenario does
	LongOnly bool

	short, long         int  // number of messages; 0: the default
	shortRate, longRate int  // messages per second; 0: the default
	soaks               bool // runs for Options.Soak
	run                 func(*trial)
	whole               func(context.Context, Options) Result // replaces the single trial
}

// The default size of a trial: six seconds of load in the short form, fifty in the long.
const (
	shortMessages = 2400
	shortRate     = 400
	longMessages  = 100_000
	longRate      = 2000
	quickMessages = 900
	quickRate     = 300
)

func (s *Scenario) messages(o Options) int {
	switch {
	case o.Messages > 0:
		return o.Messages
	case s.soaks:
		return max(1000, int(o.Soak.Seconds())*s.rate(o))
	case o.Long:
		return orDefault(s.long, longMessages)
	case o.quick:
		return quickMessages
	}
	return orDefault(s.short, shortMessages)
}

func (s *Scenario) rate(o Options) int {
	switch {
	case o.Long:
		return orDefault(s.longRate, longRate)
	case o.quick:
		return quickRate
	}
	return orDefault(s.shortRate, shortRate)
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// Options configure a run.
type Options struct {
	Long     bool
	Seed     uint64
	Messages int  // messages per scenario; 0: its default
	Keep     bool // keep the folders of servers and the workers' output
	Soak     time.Duration
	Parallel int                              // number of concurrent trials
	Variant  string                           // name of a hand-written worker to run instead of the graph; see Mutants
	quick    bool                             // even shorter than short, for mutants and tests
	Logf     func(format string, args ...any) // progress; nil is silent
}

func (o Options) logf(format string, args ...any) {
	if o.Logf != nil {
		o.Logf(format, args...)
	}
}

// Select returns the scenarios with these IDs; without any, all scenarios of the form. "R10" also
// selects the IDs that begin with "R10 ".
func Select(ids []string, long bool) ([]Scenario, error) {
	all := Scenarios()
	if len(ids) == 0 {
		return slices.DeleteFunc(all, func(s Scenario) bool { return s.LongOnly && !long }), nil
	}
	var chosen []Scenario
	for _, id := range ids {
		n := len(chosen)
		for _, s := range all {
			if strings.EqualFold(s.ID, id) || strings.HasPrefix(strings.ToLower(s.ID), strings.ToLower(id)+" ") {
				chosen = append(chosen, s)
			}
		}
		if len(chosen) == n {
			return nil, fmt.Errorf("faulttest: unknown scenario %q", id)
		}
	}
	return chosen, nil
}

// patience is the longest duration of a trial, so that a hanging harness ends too.
func patience(s *Scenario, o Options) time.Duration {
	d := 10 * time.Minute
	if o.Long || o.Messages > 0 {
		d = 15*time.Minute + o.Soak
	}
	return d
}

// Run runs one scenario.
func Run(ctx context.Context, s Scenario, o Options) Result {
	ctx, cancel := context.WithTimeoutCause(
		ctx,
		patience(&s, o),
		fmt.Errorf("the trial took longer than %v", patience(&s, o)),
	)
	defer cancel()
	if s.whole != nil {
		return s.whole(ctx, o)
	}
	t, err := newTrial(ctx, &s, o)
	if err != nil {
		return Result{ID: s.ID, What: s.What, Seed: o.Seed, Order: -1, Findings: []Finding{{kindAborted, err.Error()}}}
	}
	said := say(t, ctx)
	defer said()
	return t.run()
}

// say logs the progress of a trial every ten seconds. The caller calls the result to stop it.
func say(t *trial, ctx context.Context) func() {
	if t.o.Logf == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // ends with the trial
		defer close(done)
		for sleep(ctx, 10*time.Second) == nil {
			if p := t.following.Load(); p != nil {
				t.o.logf("%s: %d of %d messages delivered, %s", t.scenario.ID, p.came(), t.n, t.counted())
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// Scenarios returns all scenarios in the order in which they run.
func Scenarios() []Scenario {
	return slices.Concat(
		workerScenarios,
		networkScenarios,
		serverScenarios,
		topologyScenarios,
		groupScenarios,
		handlerScenarios,
		limitScenarios,
		proofs(),
		soakScenarios,
	)
}

// proofs are scenarios about the harness itself, and about crashes at a chosen step.
func proofs() []Scenario {
	return []Scenario{
		{
			ID:    "P4",
			What:  "a worker kills itself at each step of read, decode, handle, write, ack and so on",
			whole: RunCrashes,
		},
		{ID: "P5", What: "deliberately broken workers must be caught", whole: RunMutants},
	}
}
