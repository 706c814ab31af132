package gateways_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples checks that each exported function is used in an Example, and that each Example is
// run.
func TestExamples(t *testing.T) {
	for _, dir := range []string{".", "web", "events", "sse", "ws", "jobs", "durable", "scatter", "projection"} {
		var exported []string
		shown := make(map[string]bool)
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "_test.go") {
				for _, d := range f.Decls {
					if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.IsExported() {
						exported = append(exported, fn.Name.Name)
					}
				}
				continue
			}
			examples := doc.Examples(f)
			for _, e := range examples {
				if e.Output == "" && !e.EmptyOutput && !compileOnly[e.Name] {
					t.Errorf("%s: Example%s has no output, and is not run", name, e.Name)
				}
			}
			if len(examples) > 0 { // names outside the Examples count too
				ast.Inspect(f, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						shown[s.Sel.Name] = true
					}
					return true
				})
			}
		}
		if len(exported) == 0 {
			t.Fatalf("no exported function in %q", dir)
		}
		for _, name := range exported {
			if !shown[name] {
				t.Errorf("%s: %s is in no Example: write one", dir, name)
			}
		}
	}
}

// compileOnly are Examples that can't be run.
var compileOnly = map[string]bool{
	"Serve": true, // a main that ends on a signal
}
