package contract

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// A listed difference of a server has to stay true: if the server keeps the rule, the test fails.
func TestExpectedDifferencesStayTrue(t *testing.T) {
	kept, broken := Outcome{
		Rule: Rule{Name: "a", Text: "A."},
	}, Outcome{
		Rule: Rule{Name: "a", Text: "A."},
		Err:  errors.New("no"),
	}
	plain, differs := Server{Name: "s"}, Server{Name: "s", Differs: map[string]string{"a": "because"}}
	for _, test := range []struct {
		server  Server
		outcome Outcome
		want    string
	}{
		{plain, kept, ""}, {plain, broken, "A.\nno"}, {differs, broken, ""}, {differs, kept, "remove it from Differs"},
		{differs, Outcome{Rule: Rule{Name: "a"}, Lacks: "A"}, "remove it from Differs"}, {plain, Outcome{Lacks: "A"}, ""},
	} {
		if got := test.server.problem(test.outcome); !strings.Contains(got, test.want) ||
			(got == "") != (test.want == "") {
			t.Errorf("%v of %v: %q, want %q", test.outcome, test.server, got, test.want)
		}
	}
}

// A rule that panics, fails or lacks something is an outcome, and everything that it opened is
// closed.
func TestRulesEndAsOutcomes(t *testing.T) {
	down := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1, MaxRetries: -1})
	defer down.Close()
	closed := 0
	for name, test := range map[string]struct {
		check func(*check)
		err   string
		lacks string
	}{
		"kept":   {check: func(*check) {}},
		"broken": {check: func(c *check) { c.failf("not %d", 1) }, err: "problem_test.go"},
		"must":   {check: func(c *check) { c.must(errors.New("down")) }, err: "down"},
		"lacks":  {check: func(c *check) { c.lacks("XFOO") }, lacks: "XFOO"},
		"panics": {check: func(*check) { panic("oh") }, err: "panic: oh"},
	} {
		before := closed
		o := Rule{Name: name, check: func(c *check, _ string) {
			c.cleanup = append(c.cleanup, func() { closed++ })
			test.check(c)
		}}.Check(context.Background(), Server{Client: down})
		if (o.Err == nil) != (test.err == "") || o.Err != nil && !strings.Contains(o.Err.Error(), test.err) ||
			o.Lacks != test.lacks ||
			closed != before+1 {
			t.Errorf("%s: %+v, closed %d", name, o, closed-before)
		}
	}
}

// The names of rules stand in tables and in the lists of differences.
func TestRulesHaveNamesAndTexts(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range Rules() {
		if topic, _, ok := strings.Cut(r.Name, "/"); !ok || topic == "" || seen[r.Name] ||
			!strings.HasSuffix(r.Text, ".") {
			t.Errorf("rule %q: %q", r.Name, r.Text)
		}
		seen[r.Name] = true
	}
}
