package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Case is one piece of work, said without saying how: what is there before it, what must be there
// after it, and how much of it is done. Its implementations are compared with the one named
// Reference.
type Case struct {
	Name  string
	About string
	// Reference names the implementation that the others are compared with.
	Reference string
	// N is how many messages a run has, unless told otherwise, at a payload of 100 B.
	N int
	// Payload is the size in bytes of each message's payload, for cases that allow no other; 0 for those that do.
	Payload int
	// Redis says that the case needs a Redis server.
	Redis bool
	// ByRate says that its ratios are of rates, though it has latencies too.
	ByRate bool
	// Explicit keeps the case out of "all": it takes long, or it is no race.
	Explicit bool

	// Setup makes what must be there before a run, and Check says what is wrong after it. Neither is timed.
	Setup func(ctx context.Context, t *Trial) error
	Check func(ctx context.Context, t *Trial) error

	Implementations []Implementation
}

// Implementation is one way to do a case's work.
type Implementation struct {
	Name  string
	About string
	// Slow divides the number of messages, for implementations that are there for the scale of things.
	Slow int
	// Run does the work and counts it in t.Got. The clock stops when it returns, or before that when it calls t.Stop.
	Run func(ctx context.Context, t *Trial) error
}

// Cases returns all cases, in the order in which they run.
func Cases() []Case {
	return []Case{
		maps(), stages(), async(), workers(),
		produce(), consume(), transform(), latency(), calls(1), calls(64), calls(512), overHTTP(64), memory(), overload(),
	}
}

// Select returns the cases with these names. "all" stands for all but the explicit ones, and "inproc" for those whose
// names begin with "inproc-", as "calls" does.
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
				"bench: there is no case %q, only %s, and inproc and all",
				name,
				strings.Join(namesOf(all), ", "),
			)
		}
	}
	return chosen, nil
}

// Only leaves the cases just the implementations with these names. Where the reference is not among them there are no
// ratios.
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
		return nil, fmt.Errorf("bench: no case chosen has an implementation called %s", strings.Join(names, " or "))
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

// Messages is how many messages a run has at a payload: fewer when they are large, so that runs take about as long.
func (c Case) Messages(payload int) int {
	if c.Payload == 0 && payload > 512 {
		return c.N / 4
	}
	return c.N
}
