package contract

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a server to check.
type Server struct {
	Name   string
	Client redis.UniversalClient // stays open; the rules write only their own keys

	// Differs lists the rules that the server is known to break, each with the reason.
	Differs map[string]string

	// Prefix is the beginning of all keys of the rules, if the user has rights for some keys only. It
	// must not contain braces. Defaults to "", then the keys begin with "{contract:".
	Prefix string
	// Patience is how long a rule waits for an expected state. Defaults to 15s, and to 2s for a rule
	// in Differs.
	Patience time.Duration
}

// patience is how long rule waits.
func (s Server) patience(rule string) time.Duration {
	switch {
	case s.Differs[rule] != "":
		return 2 * time.Second
	case s.Patience > 0:
		return s.Patience
	}
	return 15 * time.Second
}

// Rule is one promise.
type Rule struct {
	Name string // stable: used in subtests and tables
	Text string // the promise in a sentence

	check func(c *check, key string)
}

// Rules returns all rules, in the order of their topics.
func Rules() []Rule {
	return slices.Concat(readRules, leaseRules, settleRules, groupRules, writeRules, delayRules, featureRules)
}

// Outcome is the result of a rule on a server.
type Outcome struct {
	Rule  Rule
	Err   error  // the rule is broken
	Lacks string // an optional command that the server lacks
}

// Check checks the rule on a server. If the rule is expected to be broken, its waits are short.
func (r Rule) Check(ctx context.Context, s Server) (o Outcome) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	prefix := s.Prefix + "{contract:" + rand.Text()[:12] + "}"
	c := &check{ctx: ctx, rdb: s.Client, prefix: prefix, patience: s.patience(r.Name)}
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
	r.check(c, c.key("s"))
	return o
}

// T is the part of *testing.T that Run needs. So programs that check rules do not link package
// testing.
type T[S any] interface {
	Context() context.Context
	Error(args ...any)
	Errorf(format string, args ...any)
	Helper()
	Log(args ...any)
	Logf(format string, args ...any)
	Run(name string, test func(S)) bool
}

// Run checks all rules, each in a subtest of t, a *testing.T, and returns the outcomes.
func Run[S T[S]](t S, s Server) []Outcome {
	t.Helper()
	var outcomes []Outcome
	known := make(map[string]bool)
	for _, r := range Rules() {
		known[r.Name] = true
		t.Run(r.Name, func(t S) {
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
			t.Errorf("%s lists a difference in %q, which is not a rule", s.Name, name)
		}
	}
	return outcomes
}

// problem describes an unexpected outcome: a broken rule, or an expected difference that no longer
// exists.
func (s Server) problem(o Outcome) string {
	why, expected := s.Differs[o.Rule.Name]
	switch {
	case o.Err != nil && !expected:
		return o.Rule.Text + "\n" + o.Err.Error()
	case o.Err == nil && expected:
		return s.Name + " keeps this rule now: remove it from Differs (" + why + ")"
	}
	return ""
}
