package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Case is a piece of work, described without saying how it is done: the state before, the state
// after, and the number of messages. Its implementations are compared with the one named Reference.
type Case struct {
	Name  string
	About string
	// Reference names the implementation that the others are compared with.
	Reference string
	// N is the default number of messages of a run, at a payload of 100 B.
	N int
	// Payload is the size in bytes of each message's payload, if the case allows only one. 0 means
	// any.
	Payload int
	// Redis reports whether the case needs a Redis server.
	Redis bool
	// Chain is the work of an in-process case: the numbers 0 to n-1 go through it.
	Chain []Step
	// ByRate makes the ratios those of rates, although the case has latencies too.
	ByRate bool
	// Explicit excludes the case from "all", because it takes long or is not a comparison.
	Explicit bool

	// Setup prepares a run, and Check verifies its result. Neither is timed.
	Setup func(ctx context.Context, t *Trial) error
	Check func(ctx context.Context, t *Trial) error

	Implementations []Implementation

	callers int  // of the calls and http cases
	http    bool // the callers use HTTP
}

// Implementation is one way to do a case's work.
type Implementation struct {
	Name  string
	About string
	// Ours reports whether the framework does the work.
	Ours bool
	// Slow divides the number of messages of slow implementations, which are listed only for scale.
	Slow int
	// Setup and Check replace those of the case, for implementations that do not use its streams.
	Setup, Check func(ctx context.Context, t *Trial) error
	// ServerCPU returns the CPU time that the server has used, if the server is not Redis.
	ServerCPU func() time.Duration
	// Elsewhere reports whether the work is done in another process. Its CPU time and its
	// allocations are not known.
	Elsewhere bool
	// Run performs the work and records it in t.Got. The clock stops when it returns or calls
	// t.Stop.
	Run func(ctx context.Context, t *Trial) error
}

// Cases returns all cases, in the order in which they run.
func Cases() []Case {
	return slices.Concat([]Case{
		maps(), stages(), async(), workers(),
		produce(), consume(), transform(), latency(), calls(1), calls(64), calls(512), overHTTP(64), memory(),
		overload(),
	}, growths(), operatorCases())
}

// Select returns the cases with these names. "all" selects all but the explicit ones. "inproc"
// selects the names that begin with "inproc-", and "calls" works likewise.
func Select(names ...string) ([]Case, error) {
	var chosen []Case
	all := Cases()
	for _, name := range names {
		found := false
		for _, c := range all {
			family, _, _ := strings.Cut(c.Name, "-")
			if c.Name != name && family != name && (name != "all" || c.Explicit) {
				continue
			}
			found = true
			if !slices.ContainsFunc(chosen, func(have Case) bool { return have.Name == c.Name }) {
				chosen = append(chosen, c)
			}
		}
		if !found {
			return nil, fmt.Errorf(
				"bench: unknown case %q: choose from %s, inproc and all",
				name,
				strings.Join(namesOf(all), ", "),
			)
		}
	}
	return chosen, nil
}

// Only removes all implementations without one of these names from the cases. A case without its
// reference reports no ratios.
func Only(cases []Case, names ...string) ([]Case, error) {
	var left []Case
	for _, c := range cases {
		c.Implementations = slices.DeleteFunc(slices.Clone(c.Implementations), func(i Implementation) bool {
			return !slices.Contains(names, i.Name)
		})
		if len(c.Implementations) > 0 {
			left = append(left, c)
		}
	}
	if len(left) == 0 {
		return nil, fmt.Errorf("bench: no selected case has an implementation named %s", strings.Join(names, " or "))
	}
	return left, nil
}

func namesOf(cases []Case) []string {
	names := make([]string, len(cases))
	for i, c := range cases {
		names[i] = c.Name
	}
	return names
}

// Messages returns the number of messages of a run: fewer for large payloads, so that runs take
// about as long, and streams do not get larger.
func (c Case) Messages(payload int) int {
	if c.Payload == 0 && payload > 512 {
		return max(c.N/4*min(payload, 4096)/payload, 1)
	}
	return c.N
}
