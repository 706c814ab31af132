package main

import (
	"errors"
	"flag"
	"time"

	"github.com/streamerson/streamerson-go/redisio/doctor"
)

var doctorCommand = command{
	name: "doctor", args: "[URL]", max: 1, target: true,
	short: "examine a server: what it is, which promises hold, what to change",
	long: "Examines a server, or the masters of a cluster: eviction, memory, persistence, connections, version, " +
		"latency,\nclock, blocking reads, the rights of the user, and the promises of package redisio, each tried " +
		"with throw-away\nkeys. The server may be in use: no setting is changed, one check runs at a time, and the " +
		"keys are deleted, also\nafter Ctrl-C. They begin with -prefix and {contract: or with redisio:probe:. " +
		"Nothing is written if the user may not\ndelete, or if memory is short. It takes about 20 seconds; -quick " +
		"leaves out the promises.\n\n" +
		"Exit codes: 0 all is fine, or there are only notes; 3 the worst finding is a warning; 4 it is a problem; " +
		"1 it could\nnot finish, because the server does not answer. Warning: something may be lost or fail under " +
		"certain conditions.\nProblem: something is lost or fails.",
	examples: []string{
		"doctor redis://redis.example.com:6379",
		"doctor -quick -json | jq 'select(.severity != \"ok\")'",
		"doctor redis://orders:secret@host -prefix orders:",
		"doctor $REDIS_URL || test $? -eq 3    # a deployment that accepts warnings",
	},
	flags: func(fs *flag.FlagSet) func(*call) error {
		var o doctor.Options
		fs.StringVar(&o.Prefix, "prefix", "",
			"the throw-away keys begin with this `text`, for a user with rights to some keys")
		fs.BoolVar(&o.Quick, "quick", false, "leave out the promises; write nothing")
		verbose := fs.Bool("v", false, "show the errors behind the findings")
		return func(c *call) error {
			if err := o.Validate(); err != nil {
				return usageError(err.Error())
			}
			return examine(c, o, *verbose)
		}
	},
}

// errFindings are what the exit codes of doctor tell.
var (
	errWarnings = errors.New("the worst finding is a warning")
	errProblems = errors.New("the worst finding is a problem")
)

func examine(c *call, o doctor.Options, verbose bool) error {
	var failed error
	o.OnFinding = func(f doctor.Finding) {
		failed = errors.Join(failed, c.finding(f, verbose))
	}
	began, told := time.Now(), time.Now()
	o.OnProgress = func(done, all int, promise string) {
		if now := time.Now(); done == 0 || now.Sub(told) >= 2*time.Second {
			told = now
			c.note("checking promise %d of %d: %s", done+1, all, promise)
		}
	}
	r, err := doctor.Examine(c.ctx, c.rdb, o)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	count := make(map[doctor.Severity]int)
	for _, f := range r.Findings {
		count[f.Severity]++
	}
	c.out.line("\n%s, %s, %s; took %s", plural(int64(count[doctor.Problem]), "problem", "problems"),
		plural(int64(count[doctor.Warning]), "warning", "warnings"), plural(int64(count[doctor.Note]), "note", "notes"),
		short(time.Since(began)))
	switch r.Worst() {
	case doctor.Problem:
		return errProblems
	case doctor.Warning:
		return errWarnings
	}
	return nil
}

// finding prints a finding when it is known.
func (c *call) finding(f doctor.Finding, verbose bool) error {
	node := ""
	if f.Node != "" {
		node = " (" + f.Node + ")"
	}
	c.out.line("%-8s %s%s: %s", f.Severity, escape(f.Check, 0), escape(node, 0), escape(f.Text, 0))
	if f.Fix != "" {
		c.out.line("         -> %s", escape(f.Fix, 0))
	}
	if f.Detail != "" && (verbose || f.Severity == doctor.Problem) {
		c.out.line("         %s", escape(f.Detail, shownBytes))
	}
	err := c.out.object(struct {
		Check    string `json:"check"`
		Severity string `json:"severity"`
		Node     string `json:"node,omitempty"`
		Text     string `json:"text"`
		Fix      string `json:"fix,omitempty"`
		Detail   string `json:"detail,omitempty"`
	}{f.Check, f.Severity.String(), f.Node, f.Text, f.Fix, f.Detail})
	return errors.Join(err, c.out.flush())
}
