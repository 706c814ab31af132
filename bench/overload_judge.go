package bench

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// The promises. The client's MaxWait is left at its default.
const (
	leastGoodput = 0.9 // share of the sustainable rate, at twice that rate
	// The time that answered requests may take more than the usual p99. Clients detect overload by
	// the replies. Meanwhile the queue grows to MaxWait, or slightly longer.
	mostOnset      = 2*overloadMaxWait + overloadTaken
	mostSteady     = overloadMaxWait/2 + overloadTaken // after the first two seconds
	mostMedian     = 80 * time.Millisecond             // medians: MaxWait/10, the requests taken, a third for noise
	mostRefusal    = 10 * time.Millisecond             // p99, from the time it was sent
	mostRecovery   = 2 * time.Second
	mostNearMisses = 0.01 // share of requests at 0.9 that may be refused
	leastJudged    = 20_000
	mostLate       = 30 * time.Millisecond // p99: beyond it the machine is busy with other work
)

// verdict holds the measurements and compares them with the promises.
type verdict struct {
	sustained float64
	loads     []load          // at half, near, twice, and half again
	steady    []time.Duration // latencies at twice from the third second on, sorted
	recovery  time.Duration
	judged    bool // times are judged too
	lines     []string
	broken    []string // promises
}

func (v *verdict) judge() error {
	for _, l := range v.loads {
		if late := percentile(l.late, 99); late > mostLate && v.judged {
			v.judged = false
			v.lines = append(v.lines, fmt.Sprintf(
				"times are not judged: requests were sent up to %v late because the machine is busy", round(late)))
		}
	}
	half, near, twice := v.loads[0], v.loads[1], v.loads[2]
	failures := 0
	var failure error
	for _, l := range v.loads {
		failures += l.failures
		failure = errors.Join(failure, l.failure)
	}
	v.promise(failures == 0, false, "%d requests were neither answered nor refused, want none", failures)
	v.promise(len(half.refusals) == 0, true, "at half, %d requests were refused, want none", len(half.refusals))
	v.promise(share(near) <= mostNearMisses, true, "at 0.9, %.2f %% were refused, want at most %.0f %%",
		100*share(near), 100*mostNearMisses)
	v.promise(twice.goodput >= leastGoodput*v.sustained, true,
		"at twice, %.2f of the sustainable rate was answered, want at least %.2f",
		twice.goodput/v.sustained, leastGoodput)
	v.judgeLatency(half, twice)
	if len(v.broken) > 0 {
		return errors.Join(errors.New(strings.Join(v.broken, "; ")), failure)
	}
	return nil
}

// judgeLatency compares the latencies at twice the sustainable rate with those at half of it.
func (v *verdict) judgeLatency(half, twice load) {
	usual, p99, steady := percentile(half.answers, 99), percentile(twice.answers, 99), percentile(v.steady, 99)
	v.promise(p99 <= usual+mostOnset, true,
		"p99 of answers at twice is %v, want at most %v: the p99 at half, twice MaxWait, and the requests taken",
		round(p99), round(usual+mostOnset))
	v.promise(steady <= usual+mostSteady, true,
		"p99 of answers at twice after the first two seconds is %v, want at most %v: half of MaxWait once",
		round(steady), round(usual+mostSteady))
	p50, usually := percentile(twice.answers, 50), percentile(half.answers, 50)
	v.promise(p50 <= usually+mostMedian, true, "p50 of answers at twice is %v, want at most %v",
		round(p50), round(usually+mostMedian))
	no := percentile(twice.refusals, 99)
	v.promise(no <= mostRefusal, true, "p99 of refusals at twice is %v, want at most %v", round(no), mostRefusal)
	v.promise(v.recovery <= mostRecovery, true, "latency was back to usual within %v after it, want at most %v",
		v.recovery, mostRecovery)
}

// promise adds a line about a promise, and its text to broken unless ok. Timed promises are not
// judged on a busy machine.
func (v *verdict) promise(ok, timed bool, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	switch {
	case timed && !v.judged:
		v.lines = append(v.lines, "      "+what)
	case ok:
		v.lines = append(v.lines, "pass  "+what)
	default:
		v.lines = append(v.lines, "FAIL  "+what)
		v.broken = append(v.broken, what)
	}
}

// share returns the refused share of a load.
func share(l load) float64 {
	return float64(len(l.refusals)) / float64(max(1, len(l.refusals)+len(l.answers)+l.failures))
}

func (v *verdict) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sustainable: %.0f calls/s\n", v.sustained)
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "load\toffered/s\tanswered/s\tof sustainable\tp50\tp99\trefused\tp50\tp99\telse\tloop late, p99\t\n")
	for _, l := range v.loads {
		fmt.Fprintf(
			tw,
			"%s\t%.0f\t%.0f\t%.2f\t%v\t%v\t%d\t%v\t%v\t%d\t%v\t\n",
			l.name,
			l.offered,
			l.goodput,
			l.goodput/v.sustained,
			round(percentile(l.answers, 50)),
			round(percentile(l.answers, 99)),
			len(l.refusals),
			round(
				percentile(l.refusals, 50),
			),
			round(percentile(l.refusals, 99)),
			l.failures,
			round(percentile(l.late, 99)),
		)
	}
	_ = tw.Flush() // into memory
	for _, line := range v.lines {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}
