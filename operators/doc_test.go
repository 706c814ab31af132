package operators_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of the package documentation")

// facts matches the end of an operator's documentation: its diagram, its effect on order and acks,
// and its memory and end.
var facts = regexp.MustCompile(`\n\nOrder: ([^:]+)\. Acks: ([^:]+)\.\nHolds: [^:]+\. Ends: [^:]+\.\n$`)

// diagram matches two lines of a marble diagram: a name and dashes.
var diagram = regexp.MustCompile(`(?m)^\t\S.* -.*-.*\n(?:.*\n)*?\t\S.* -.*-.*$`)

// parameters are the types that operators take or return. Everything else in the package is a
// function from sources to sources, or a hub.
var parameters = []string{"DedupeStore", "DedupeMemory", "Gap", "Pair", "Overflow", "HubStats", "Limiter", "Stall"}

// tasks sorts the operators by what one wants to do. The table of the package documentation is made
// of it.
var tasks = []struct {
	task  string
	names []string
}{
	{"Change values", []string{"Map", "MapMessage", "Filter", "FilterMap", "FlatMap", "Tap", "Try", "Dedupe",
		"Distinct"}},
	{"Send messages to several places", []string{"FanOut", "Split", "Balance", "Partition", "ByKey", "GroupBy", "Case",
		"DivertTo", "AlsoTo", "WireTap", "Unzip", "Feedback"}},
	{"Bring sources together", []string{"FanIn", "MergePreferred", "MergeWeighted", "MergeSorted", "MergeSequence",
		"Interleave", "Concat", "OrElse", "Zip", "WithLatest", "CombineLatest"}},
	{"Handle several values at once", []string{"Batch", "BatchWeighted", "BatchAdaptive", "MapBatch", "Unbatch"}},
	{"Take a part of a stream", []string{"Take", "TakeWhile", "Drop", "DropWhile"}},
	{"Keep a state", []string{"Scan", "Fold", "Stateful"}},
	{"Compute per time, and join by time", []string{"Window", "JoinWithin"}},
	{"Control the rate", []string{"Throttle", "ThrottleCost", "ThrottleShared", "Buffer", "Conflate", "Extrapolate"}},
	{"Deal with time", []string{"Delay", "Debounce", "Sample", "KeepAlive", "Watchdog"}},
}

// parsed is this package's source.
type parsed struct {
	*doc.Package
	tests []*ast.File
}

func parsePackage(t *testing.T) parsed {
	t.Helper()
	fset := token.NewFileSet()
	var code []*ast.File
	var p parsed
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			p.tests = append(p.tests, f)
		} else {
			code = append(code, f)
		}
	}
	if p.Package, err = doc.NewFromFiles(fset, code, "operators"); err != nil {
		t.Fatal(err)
	}
	return p
}

// operators returns the names of the operators, sorted.
func (p parsed) operators() (names []string) {
	for _, f := range p.Funcs {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

// TestDocs checks that each operator documents its four facts, has a marble diagram and an example
// with output, and that the tables of the package documentation are those of the operators. With
// -update it writes the first table.
func TestDocs(t *testing.T) {
	p := parsePackage(t)
	examples := make(map[string]bool)
	for _, e := range doc.Examples(p.tests...) {
		examples[e.Name] = e.Output != ""
	}
	docs := make(map[string]string)
	for _, f := range p.Funcs {
		docs[f.Name] = f.Doc
		if !facts.MatchString(f.Doc) {
			t.Errorf(
				"%s: its documentation does not end with the lines Order, Acks and Holds, Ends:\n%s",
				f.Name,
				f.Doc,
			)
		}
		if !diagram.MatchString(f.Doc) {
			t.Errorf("%s: its documentation has no marble diagram; doc.go describes them", f.Name)
		}
		if !examples[f.Name] {
			t.Errorf("%s has no example with output", f.Name)
		}
	}
	for _, typ := range p.Types {
		checkType(t, typ, p.Doc, examples)
	}
	for _, v := range p.Vars {
		if !strings.HasPrefix(v.Names[0], "Err") {
			t.Errorf("the package exports more than operators and their errors: %v", v.Names)
		}
	}
	if len(p.Consts) > 0 {
		t.Errorf("the package exports constants without a type")
	}
	sorted := taskTable(t, docs)
	if *update {
		writeTable(t, sorted)
	} else if !strings.Contains(p.Doc, sorted) {
		t.Errorf("doc.go has another table; go test -run TestDocs ./operators -update writes this one:\n%s", sorted)
	}
	checkNames(t, p.Doc, docs)
}

// checkType checks an exported type, which must be a parameter or a hub.
func checkType(t *testing.T, typ *doc.Type, text string, examples map[string]bool) {
	t.Helper()
	hub := strings.HasSuffix(typ.Name, "Hub")
	if !hub && !slices.Contains(parameters, typ.Name) {
		t.Errorf("the package exports more than operators: %s", typ.Name)
	}
	if !hub {
		return
	}
	if !strings.Contains(text, "\n\t"+typ.Name+" ") {
		t.Errorf("%s is not in the table of hubs of the package documentation", typ.Name)
	}
	if !examples["New"+typ.Name] {
		t.Errorf("New%s has no example with output", typ.Name)
	}
	for _, m := range typ.Methods {
		if m.Name != "Close" && m.Name != "Stats" && !facts.MatchString(m.Doc) {
			t.Errorf("%s.%s: its documentation does not end with the lines Order, Acks and Holds, Ends:\n%s",
				typ.Name, m.Name, m.Doc)
		}
	}
}

// checkNames checks that the last column of the table of other names has operators, or names of
// other packages.
func checkNames(t *testing.T, text string, docs map[string]string) {
	t.Helper()
	_, text, _ = strings.Cut(text, "\n# Other names\n")
	text, _, _ = strings.Cut(text, "\n# ")
	rows := regexp.MustCompile(`(?m)^\t(\S.*?)  +(\S.*?)  +(\S.*)$`).FindAllStringSubmatch(text, -1)
	if len(rows) < 10 {
		t.Errorf("doc.go has %d rows of other names", len(rows))
	}
	for _, row := range rows[min(1, len(rows)):] { // without the heading
		for name := range strings.SplitSeq(row[3], ", ") {
			if first, _, _ := strings.Cut(name, " "); !strings.Contains(first, ".") && docs[first] == "" {
				t.Errorf("the table of other names says %q for %s, which is no operator", name, row[1])
			}
		}
	}
}

// taskTable returns the table of the operators by task. The first sentence of an operator's
// documentation is what it does, and the first clauses of its facts are its order and acks.
func taskTable(t *testing.T, docs map[string]string) string {
	t.Helper()
	var b strings.Builder
	listed := make(map[string]bool)
	for _, task := range tasks {
		fmt.Fprintf(&b, "\n%s:\n\n", task.task)
		for _, name := range task.names {
			f := facts.FindStringSubmatch(docs[name])
			if f == nil || listed[name] {
				t.Errorf("the tasks list %s, which is no operator with facts or is listed twice", name)
				continue
			}
			listed[name] = true
			sentence, _, _ := strings.Cut(strings.ReplaceAll(docs[name], "\n", " "), ". ")
			what := strings.TrimPrefix(sentence, name+" ")
			order := clause(f[1])
			acks := strings.TrimPrefix(clause(f[2]), "an entry is acked ")
			row := fmt.Sprintf("\t%-15s %-50s %-20s %s", name, what, order, acks)
			if len(what) > 50 || len(order) > 20 || len(row) > 114 {
				t.Errorf("%s does not fit into the table: the first sentence may have 50 characters, the first "+
					"clause of Order 20, and of Acks %d:\n%s", name, 114-88, row)
			}
			b.WriteString(row + "\n")
		}
	}
	for name := range docs {
		if !listed[name] {
			t.Errorf("%s is in no task of this test", name)
		}
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// clause returns the first clause of a fact.
func clause(fact string) string {
	fact = strings.ReplaceAll(fact, "\n", " ")
	if at := strings.IndexAny(fact, ",;"); at >= 0 {
		return fact[:at]
	}
	return fact
}

// writeTable writes the table into doc.go.
func writeTable(t *testing.T, table string) {
	t.Helper()
	const name = "doc.go"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range strings.Lines(table) {
		lines.WriteString(strings.TrimRight("// "+line, " \n") + "\n")
	}
	rows := strings.ReplaceAll(lines.String(), "// \t", "//\t")
	from, to := strings.Index(
		string(text),
		"// "+tasks[0].task+":\n",
	), strings.Index(
		string(text),
		"//\n// # Other names\n",
	)
	if from < 0 || to < from {
		t.Fatal("doc.go has no section for the table")
	}
	out := string(text[:from]) + rows + string(text[to:])
	if err := os.WriteFile(name, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
}
