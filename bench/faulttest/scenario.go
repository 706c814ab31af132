package faulttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenario is one kind of hurt.
type Scenario struct {
	ID       string // as R1; several of one kind have a word behind it
	What     string // is done
	LongOnly bool

	short, long         int  // messages; 0 is the default
	shortRate, longRate int  // a second; 0 is the default
	soaks               bool // as long as Options.Soak says
	run                 func(*trial)
	whole               func(context.Context, Options) Result // instead of one trial
}

// The usual size of a trial: six seconds of load in the short form, fifty in the long.
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
	Messages int  // of each scenario; 0 is its own default
	Keep     bool // keep the folders of servers and what workers wrote
	Soak     time.Duration
	Parallel int                              // trials at the same time
	Variant  string                           // of the hand-written workers, instead of the graph; see Mutants
	quick    bool                             // an even shorter form, for mutants and tests
	Logf     func(format string, args ...any) // progress; nil is silent
}

func (o Options) logf(format string, args ...any) {
	if o.Logf != nil {
		o.Logf(format, args...)
	}
}

// Select returns the scenarios that ids name, or all of the form. R10 is all whose ID begins with it and a space.
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
			return nil, fmt.Errorf("faulttest: no scenario is called %q", id)
		}
	}
	return chosen, nil
}

// patience bounds a trial, so that a bug of the harness ends as well.
func patience(s *Scenario, o Options) time.Duration {
	d := 90 * time.Second
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
	said := t.say(ctx)
	defer said()
	return t.run()
}

// say tells every ten seconds how far a trial is. It returns what ends that.
func (t *trial) say(ctx context.Context) func() {
	if t.o.Logf == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // ends with the trial
		defer close(done)
		for sleep(ctx, 10*time.Second) == nil {
			if p := t.following.Load(); p != nil {
				t.o.logf("%s: %d of %d messages came, %s", t.scenario.ID, p.came(), t.n, t.counted())
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
