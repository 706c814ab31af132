package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/contract"
	"github.com/streamerson/streamerson-go/redisio/internal/check"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Options configure an examination. The zero value examines everything.
type Options struct {
	// Prefix is the beginning of the keys that the doctor writes, if the user has rights for some
	// keys only. It must not contain braces. Defaults to "".
	Prefix string
	// Quick leaves out the promises, which take some seconds and write.
	Quick bool
	// OnFinding receives each finding when it is known. It must not block.
	OnFinding func(Finding)
	// OnProgress is called before each promise is checked. It must not block.
	OnProgress func(done, all int, promise string)

	rules []contract.Rule // of tests; all by default
}

// Validate returns all mistakes at once. It needs no server.
func (o Options) Validate() error {
	m := redisio.MistakesOf("doctor.Options")
	m.If(strings.ContainsAny(o.Prefix, "{}"), "Prefix", fmt.Sprintf("is %q, with braces", o.Prefix),
		"leave the braces out: the keys have a hash tag of their own")
	return m.Err()
}

// Examine examines the server of a client, or the masters of a cluster. It returns what it found, and
// an error if it could not finish: the server does not answer, or ctx ended.
func Examine(ctx context.Context, rdb redis.UniversalClient, o Options) (*Report, error) {
	e := &examination{o: o, rdb: rdb, report: new(Report)}
	if err := errors.Join(check.NeedClient(rdb, "doctor.Examine"), o.Validate()); err != nil {
		return e.report, err
	}
	steps := []func(context.Context) error{
		e.identify, e.settings, e.addresses, e.latency, e.clock, e.blocking, e.rights, e.promises,
	}
	for i, step := range steps {
		if i > 1 && i < len(steps)-1 && e.isSentinel() {
			continue // only its role and settings matter
		}
		err := step(ctx)
		if ctx.Err() != nil {
			return e.report, fmt.Errorf("redisio: examine the server: %w", fault.Ended(ctx))
		}
		if err != nil && !e.cutOff(ctx, err) {
			return e.report, fmt.Errorf("redisio: examine the server: %w", err)
		}
	}
	return e.report, nil
}

// isSentinel reports whether the server is a Sentinel, which has no streams.
func (e *examination) isSentinel() bool {
	return len(e.nodes) > 0 && e.nodes[0].info["redis_mode"] == "sentinel"
}

// cutOff reports whether a check got no answer although the server is there, and adds a finding then.
func (e *examination) cutOff(ctx context.Context, err error) bool {
	if len(e.nodes) == 0 || e.rdb.Ping(ctx).Err() != nil {
		return false
	}
	const text = "the connection was cut during a check, though PING works: by a proxy that does not know a command, " +
		"or by an unsteady network"
	if e.unfit != text {
		e.add(Finding{Check: "network/cut", Severity: Problem, Text: text, Detail: err.Error(),
			Fix: "connect to Redis directly, or run the doctor again"})
	}
	e.unfit = text
	return true
}

// examination is one run. Owned by Examine.
type examination struct {
	o      Options
	rdb    redis.UniversalClient
	report *Report
	nodes  []*node

	unfit string // why nothing may be written; "" if it may
}

// add adds a finding.
func (e *examination) add(f Finding) {
	if len(e.nodes) < 2 {
		f.Node = ""
	}
	e.report.Findings = append(e.report.Findings, f)
	if e.o.OnFinding != nil {
		fault.Notify("doctor.Options.OnFinding", func() { e.o.OnFinding(f) })
	}
}

// spare keeps the promises from being checked. The first reason counts.
func (e *examination) spare(why string) {
	if e.unfit == "" {
		e.unfit = why
	}
}

// key returns a throw-away key. It is in a random slot.
func (e *examination) key() string { return e.o.Prefix + "{contract:" + rand.Text()[:12] + "}:doctor" }

// lost returns err if the server gave no answer. An answer that refuses is no error here: the checks
// judge it.
func lost(err error) error {
	if err == nil || fault.IsServerSaid(err) {
		return nil
	}
	return err
}
