package faulttest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Mutant is a broken worker, the scenario that must catch it, and the finding that is expected. A
// harness that passes broken workers proves nothing about correct ones.
type Mutant struct {
	Variant  string // see variants; "" runs the graph
	Scenario string
	Finds    string // kind of the expected finding; "" for the control
	idle     bool   // the scenario injects no faults
}

// Mutants returns all broken workers, and a correct one for each scenario that catches some.
func Mutants() []Mutant {
	return []Mutant{
		{Variant: "correct", Scenario: "R1"},
		{Variant: "correct", Scenario: "R2"},
		{Variant: "correct", Scenario: "R16"},
		{Variant: "correct", Scenario: "R17"},
		{Variant: "correct", Scenario: "R2 latency"},
		{Variant: "acks first", Scenario: "R1", Finds: kindLost},
		{Variant: "never reclaims", Scenario: "R1", Finds: kindPending},
		{Variant: "claims what is held", Scenario: "R3", Finds: kindDuplicated},
		{Variant: "rewrites all", Scenario: "R2", Finds: kindDuplicated},
		{Variant: "drops at SIGTERM", Scenario: "R17", Finds: kindLost},
		{Variant: "abandons at SIGTERM", Scenario: "R17", Finds: kindDrain},
		{Variant: "dies of poison", Scenario: "R16", Finds: kindStall},
		{Variant: "drops poison", Scenario: "R16", Finds: kindLost},
		{Variant: "buries twice", Scenario: "R16", Finds: kindDead},
		{Variant: "never heals the group", Scenario: "R10 flush", Finds: kindStall},
		{Variant: "leaks goroutines", Scenario: "R16", Finds: kindLeak},
		{Variant: "reverses batches", Scenario: "R2 latency", Finds: kindOrder},
		{Scenario: "R1", Finds: kindVoid, idle: true},
	}
}

// Name returns the worker's and the scenario's name.
func (m Mutant) Name() string {
	name := m.Variant
	switch {
	case m.idle:
		name = "a schedule without faults"
	case name == "":
		name = "the graph"
	}
	return name + ", " + m.Scenario
}

// Try runs a mutant and reports whether the harness caught it; a control must pass.
func (m Mutant) Try(ctx context.Context, o Options) (r Result, caught bool) {
	chosen, err := Select([]string{m.Scenario}, true)
	if err != nil {
		return Result{ID: m.Scenario, Findings: []Finding{{kindAborted, err.Error()}}}, false
	}
	s := chosen[0]
	for _, c := range chosen {
		if c.ID == m.Scenario {
			s = c
		}
	}
	o.Variant, o.Messages, o.Long, o.quick = m.Variant, 0, false, true
	if m.idle {
		s.run = func(t *trial) {
			t.server()
			t.needs["kill -9 of a worker"] = 1
			t.usual(1, nil)
		}
	}
	r = Run(ctx, s, o)
	if m.Finds == "" {
		return r, r.Passed()
	}
	return r, r.Found(m.Finds)
}

// RunMutants is P5. It runs several mutants concurrently, because they mostly wait.
func RunMutants(ctx context.Context, o Options) Result {
	const atOnce = 4
	began := time.Now()
	sum := Result{
		ID:    "P5",
		What:  "deliberately broken workers must be caught, and correct ones must pass",
		Seed:  o.Seed,
		Order: -1,
	}
	mutants := Mutants()
	var mu sync.Mutex
	var all errgroup.Group
	all.SetLimit(atOnce)
	caught := 0
	quiet := o
	quiet.Logf = nil
	for _, m := range mutants {
		all.Go(func() error {
			r, ok := m.Try(ctx, quiet)
			mu.Lock()
			defer mu.Unlock()
			sum.Messages += r.Messages
			o.logf("P5: %s: %s", m.Name(), r.Verdict())
			switch {
			case ok && m.Finds != "":
				caught++
			case !ok && ctx.Err() == nil:
				sum.Findings = append(
					sum.Findings,
					Finding{
						kindPromise,
						fmt.Sprintf("%s: want %q, got %s: %v", m.Name(), m.Finds, r.Verdict(), r.Findings),
					},
				)
			}
			return nil
		})
	}
	_ = all.Wait() // the findings have the errors
	if ctx.Err() != nil {
		sum.Findings = append(sum.Findings, Finding{kindAborted, context.Cause(ctx).Error()})
	}
	sum.Faults = fmt.Sprintf("%d broken workers caught", caught)
	sum.Took = time.Since(began)
	return sum
}
