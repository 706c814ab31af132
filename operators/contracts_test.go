package operators_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/flow/flowtest"
)

// contract is a proof that an operator keeps its promises. An operator may have several, for
// different arguments, which variant names.
type contract struct {
	operator, variant string
	prove             func(t *testing.T) flowtest.Proof
}

// contracts are the proofs of all operators. An operator without one fails TestTable.
var contracts = slices.Concat(
	valueContracts,
	routingContracts,
	batchContracts,
	stateContracts,
	windowContracts,
	timeContracts,
)

// promises is the contract of an operator with one input and one output.
func promises[U any](
	operator, variant string, traits flowtest.Traits[U], op func(in flow.Source[int]) flow.Source[U],
) contract {
	return contract{
		operator,
		variant,
		func(t *testing.T) flowtest.Proof { return flowtest.TestOperator(t, traits, op) },
	}
}

// wired is the contract of an operator with several inputs or outputs.
func wired[U any](
	operator, variant string, traits flowtest.Traits[U], inputs int,
	wire func(ins []flow.Source[int], f func(int) error, opts ...flow.StageOption) flowtest.Wired[U],
) contract {
	return contract{operator, variant, func(t *testing.T) flowtest.Proof {
		return flowtest.TestWired(t, traits, inputs, wire)
	}}
}

// TestTable proves the contracts and prints the table operator × promise: the number of tests that
// have proven the promise. FLOWTEST_SEEDS=n runs n seeds of chaos for each operator.
//
//	go test ./operators -run TestTable -v
func TestTable(t *testing.T) {
	rows := make(map[string]*row)
	var mu sync.Mutex
	t.Run("operators", func(t *testing.T) {
		for _, c := range contracts {
			name := c.operator
			if c.variant != "" {
				name += ", " + c.variant
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := c.prove(t)
				mu.Lock()
				defer mu.Unlock()
				if rows[c.operator] == nil {
					rows[c.operator] = &row{}
				}
				rows[c.operator].add(p)
			})
		}
	})
	if t.Failed() || testing.Short() {
		return
	}
	exported := parsePackage(t).operators()
	for _, name := range exported {
		r := rows[name]
		if r == nil {
			t.Errorf("%s has no contract: add one to a contracts_*_test.go", name)
			continue
		}
		for _, p := range flowtest.Promises {
			if r.passed[p] == 0 {
				t.Errorf("%s: no test proves the promise %q", name, p)
			}
		}
	}
	for name := range rows {
		if !slices.Contains(exported, name) {
			t.Errorf("the contract of %s is for no operator", name)
		}
	}
	t.Log("\n" + table(rows))
}

// row is what the contracts of one operator have proven.
type row struct {
	orders []string
	seeds  int
	passed [6]int // by promise
}

func (r *row) add(p flowtest.Proof) {
	if o := p.Order.String(); !slices.Contains(r.orders, o) {
		r.orders = append(r.orders, o)
		slices.Sort(r.orders)
	}
	r.seeds += p.Seeds
	for _, of := range flowtest.Promises {
		r.passed[of] += p.Passed(of)
	}
}

func table(rows map[string]*row) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprint(w, "operator\torder")
	for _, p := range flowtest.Promises {
		fmt.Fprintf(w, "\t%s", p)
	}
	fmt.Fprintln(w, "\tseeds")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		fmt.Fprintf(w, "%s\t%s", name, strings.Join(r.orders, " or "))
		for _, n := range r.passed {
			fmt.Fprintf(w, "\t%d", n)
		}
		fmt.Fprintf(w, "\t%d\n", r.seeds)
	}
	w.Flush()
	return b.String()
}

func good(int) error { return nil }

// orGood returns f, or a function that never fails.
func orGood(f func(int) error) func(int) error {
	if f == nil {
		return good
	}
	return f
}
