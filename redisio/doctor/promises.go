package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/streamerson/streamerson-go/redisio/contract"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// newer says what optional commands are good for here, by the name of their rule.
var newer = map[string]string{
	"new/claim":   "XREADGROUP CLAIM (Redis 8.4) takes over entries of dead readers in the same call",
	"new/maxsize": "XREADGROUP MAXSIZE (8.10) limits replies in bytes",
	"new/idmp":    "XADD IDMP (8.6) drops duplicates in the server: DedupeWindow then costs half",
	"new/waitaof": "WAITAOF (7.2) confirms that an entry is on disk: Durability.Fsync needs it",
}

// promises checks the rules of package contract.
func (e *examination) promises(ctx context.Context) error {
	rules := e.o.rules
	if rules == nil {
		rules = contract.Rules()
	}
	if e.o.Quick {
		e.unfit = "Quick is set"
	}
	if e.unfit != "" {
		e.report.Open = len(rules)
		f := Finding{Check: "promises", Severity: Note, Text: "the promises were not checked: " + e.unfit}
		if e.o.Quick {
			f.Severity = Fine
		}
		e.add(f)
		return nil
	}
	t := tally{e: e, server: contract.Server{Client: e.rdb, Prefix: e.o.Prefix, Patience: 5 * time.Second}}
	if e.report.Server.Product == "miniredis" {
		t.server.Differs = contract.EmbeddedDiffers()
	}
	for i, rule := range rules {
		if e.o.OnProgress != nil {
			fault.Notify("doctor.Options.OnProgress", func() { e.o.OnProgress(i, len(rules), rule.Name) })
		}
		if err := t.check(ctx, rule); err != nil {
			return err
		}
	}
	t.sum(len(rules))
	return nil
}

// tally counts outcomes.
type tally struct {
	e      *examination
	server contract.Server

	refused []string // rules that need rights which the user lacks
	lacks   []string // what newer commands would bring
}

// check checks a rule, twice if it fails: another load on the server may have delayed it.
func (t *tally) check(ctx context.Context, rule contract.Rule) error {
	r := t.e.report
	first := rule.Check(ctx, t.server)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case first.Lacks != "":
		r.Open++
		if text := newer[rule.Name]; text != "" {
			t.lacks = append(t.lacks, text)
		}
		return nil
	case first.Err == nil:
		r.Kept++
		return nil
	case fault.Forbids(first.Err):
		r.Open++
		t.refused = append(t.refused, rule.Name)
		return nil
	}
	if err := t.e.rdb.Ping(ctx).Err(); lost(err) != nil {
		return fmt.Errorf("the server went away during the check of %s: %w", rule.Name, err)
	}
	f := Finding{Check: "promise/" + rule.Name, Severity: Problem, Text: "it does not hold: " + rule.Text,
		Detail: first.Err.Error()}
	if why := t.server.Differs[rule.Name]; why != "" {
		f.Detail, f.Fix = why, "use it for tests and first runs only"
	} else if again := rule.Check(ctx, t.server); again.Err == nil && ctx.Err() == nil {
		r.Kept++
		f.Severity = Note
		f.Text = "it held only when it was checked again: " + rule.Text
		f.Fix = "the server or the network may be busy: run the doctor again"
		t.e.add(f)
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.Broken++
	t.e.add(f)
	return nil
}

// sum adds the findings about all rules.
func (t *tally) sum(all int) {
	r := t.e.report
	if n := len(t.refused); n > 0 {
		t.e.add(Finding{Check: "promises/rights", Severity: Note,
			Text: fmt.Sprintf("%d promises could not be checked, because the user lacks rights: %s", n,
				strings.Join(t.refused, ", ")),
			Fix: "run the doctor as a user with more rights"})
	}
	if len(t.lacks) > 0 {
		t.e.add(Finding{Check: "server/newer", Severity: Note,
			Text: "optional commands that the server lacks: " + strings.Join(t.lacks, "; "),
			Fix:  "nothing needs to change: the commands of Redis 7.0 suffice"})
	}
	t.e.add(Finding{Check: "promises", Text: fmt.Sprintf("%d of %d promises hold, %d do not, and %d could not be "+
		"checked or need newer commands", r.Kept, all, r.Broken, r.Open)})
}
