package contract

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is what the rules are checked on.
type Server struct {
	Name   string
	Client redis.UniversalClient // stays open; only keys of the rules' own are written

	// Differs has the rules that the server is known not to keep, each with the reason.
	Differs map[string]string
}

// Rule is one promise.
type Rule struct {
	Name string // stable: it names the subtest, and stands in tables
	Text string // what is promised, in a sentence

	check func(c *check)
}

// Rules returns all rules, in the order of their topics.
func Rules() []Rule {
	return slices.Concat(readRules, leaseRules, settleRules, groupRules, writeRules, delayRules, featureRules)
}

// Outcome is what became of a rule on a server.
type Outcome struct {
	Rule  Rule
	Err   error  // the rule is not kept
	Lacks string // a command that the server does not have, which nothing here needs
}

// Check checks the rule on a server. Where it is not expected to be kept, what it waits for is not waited for long.
func (r Rule) Check(ctx context.Context, s Server) (o Outcome) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := &check{ctx: ctx, rdb: s.Client, prefix: "{contract:" + rand.Text()[:12] + "}", patience: 15 * time.Second}
	if s.Differs[r.Name] != "" {
		c.patience = 2 * time.Second
	}
	o.Rule = r
	defer c.end()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case broken:
			o.Err = p.err
		case lacking:
			o.Lacks = string(p)
		default:
			o.Err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	r.check(c)
	return o
}

// Run checks all rules, a subtest each, and returns what became of them.
func Run(t *testing.T, s Server) []Outcome {
	t.Helper()
	var outcomes []Outcome
	known := make(map[string]bool)
	for _, r := range Rules() {
		known[r.Name] = true
		t.Run(r.Name, func(t *testing.T) {
			o := r.Check(t.Context(), s)
			outcomes = append(outcomes, o)
			if problem := s.problem(o); problem != "" {
				t.Error(problem)
			} else if o.Err != nil {
				t.Logf("differs, as expected (%s): %v", s.Differs[r.Name], o.Err)
			} else if o.Lacks != "" {
				t.Log("the server lacks " + o.Lacks)
			}
		})
	}
	for name := range s.Differs {
		if !known[name] {
			t.Errorf("%s is said to differ in %q, which is no rule", s.Name, name)
		}
	}
	return outcomes
}

// problem says what is wrong with an outcome: a rule that is not kept, or one that is and was not expected to be.
func (s Server) problem(o Outcome) string {
	why, expected := s.Differs[o.Rule.Name]
	switch {
	case o.Err != nil && !expected:
		return o.Rule.Text + "\n" + o.Err.Error()
	case o.Err == nil && expected:
		return s.Name + " keeps this rule now: strike it off what it does differently (" + why + ")"
	}
	return ""
}
