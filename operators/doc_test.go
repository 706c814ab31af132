package operators_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// facts matches the end of an operator's documentation.
var facts = regexp.MustCompile(`\n\nOrder: [^:]+\. Acks: [^:]+\.\nHolds: [^:]+\. Ends: [^:]+\.\n$`)

// parameters are the types that operators take or return.
var parameters = []string{"DedupeStore", "DedupeMemory", "Overflow", "HubStats"}

// TestDocs parses the package: each operator documents its four facts, has an example with output,
// and is in the table of the package's documentation.
func TestDocs(t *testing.T) {
	fset := token.NewFileSet()
	var code, tests []*ast.File
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
			tests = append(tests, f)
		} else {
			code = append(code, f)
		}
	}
	examples := make(map[string]bool)
	for _, e := range doc.Examples(tests...) {
		examples[e.Name] = e.Output != ""
	}
	p, err := doc.NewFromFiles(fset, code, "operators")
	if err != nil {
		t.Fatal(err)
	}
	var exported []string
	for _, f := range p.Funcs {
		exported = append(exported, f.Name)
		if !facts.MatchString(f.Doc) {
			t.Errorf(
				"%s: its documentation does not end with the lines Order, Acks and Holds, Ends:\n%s",
				f.Name,
				f.Doc,
			)
		}
		if !examples[f.Name] {
			t.Errorf("%s has no example with output", f.Name)
		}
	}
	for _, typ := range p.Types {
		hub := strings.HasSuffix(typ.Name, "Hub")
		if !hub && !slices.Contains(parameters, typ.Name) {
			t.Errorf("the package exports more than operators: %s", typ.Name)
		}
		if !hub {
			continue
		}
		exported = append(exported, typ.Name)
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
	if len(p.Vars)+len(p.Consts) > 1 { // the errors of hubs
		t.Errorf("the package exports more than operators")
	}
	var listed []string
	for _, row := range regexp.MustCompile(`(?m)^\t([A-Z]\w+)  +\S.*  +\S.*  +\S`).FindAllStringSubmatch(p.Doc, -1) {
		if row[1] != "Operator" {
			listed = append(listed, row[1])
		}
	}
	slices.Sort(listed)
	slices.Sort(exported)
	if diff := cmp.Diff(exported, listed); diff != "" {
		t.Errorf("operators and the table of the package documentation (-exported +listed):\n%s", diff)
	}
}
