package flow

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shownBy maps a name without an Example of its own to the Example that uses it.
var shownBy = map[string]string{
	"AckTimeout":     "DrainTimeout",
	"Headers.Get":    "Message_WithMeta",
	"IsPermanent":    "Verdict",
	"Follow":         "Watch",
	"Watched.Cancel": "Watched_Progress",
	"NewFailure":     "Fork",
	"Failure.Err":    "Fork",
	"StageName":      "Transform",

	"Intake.Add":      "NewSource",
	"Intake.AddValue": "NewSource",
	"Intake.Bytes":    "MaxBytes",
	"Intake.Grow":     "MaxBytes",
	"Intake.Len":      "MaxBytes",
	"Intake.Room":     "NewSource",
	"Intake.Seq":      "NewSource",

	"Message.Attempt": "RetryAfter",
	"Message.Headers": "Message_WithMeta",
	"Message.ID":      "Message_WithMeta",
	"Message.Key":     "Message_WithMeta",
	"Message.Meta":    "Message_WithMeta",

	"Running.Done":   "Graph_Start",
	"Running.Report": "Running_Stop",
	"Running.Resume": "Running_Pause",
	"Running.State":  "Running_Pause",
	"Running.Wait":   "Graph_Start",

	"Settlement.Err": "DeadLetter",

	"Held.CanGoBack": "Held_GiveBack",
	"Ticket.Ack":     "Later",
	"Ticket.Dead":    "Later",
	"Ticket.Done":    "Later",
	"Ticket.Meta":    "Later",

	"NewSupervisor":       "Supervisor",
	"Supervisor.Get":      "Supervisor_Drain",
	"Supervisor.Names":    "Supervisor",
	"Supervisor.Pause":    "Supervisor",
	"Supervisor.Remove":   "Supervisor",
	"Supervisor.Resume":   "Supervisor",
	"Supervisor.Shutdown": "Supervisor",
	"Supervisor.Snapshot": "Supervisor",
	"Supervisor.Stop":     "Supervisor_Add",
	"Supervisor.Wait":     "Supervisor_Health",
}

// needsNone gives the reason why a name needs no Example at all.
var needsNone = map[string]string{
	"Graph.Name":         "returns what New was given",
	"Message.Time":       "as ID and Key",
	"Message.Type":       "as ID and Key",
	"Ticket.Nack":        "as Dead",
	"HandlerFunc.Handle": "calls the function",
	"WriterFunc.Write":   "calls the function",
	"RouteFunc.Handle":   "calls the function",
	"ForkFunc.Handle":    "calls the function",
}

// ofAll are methods that have the same meaning on any type.
var ofAll = []string{"Error", "Unwrap", "String", "MarshalText", "UnmarshalText"}

// compileOnly are Examples that cannot be run, and why.
var compileOnly = map[string]string{
	"Graph_Start": "it is a service's main, and ends by a signal",
}

// TestExamples checks that each exported function, and each method of an exported type, has an
// Example with output.
func TestExamples(t *testing.T) {
	fset := token.NewFileSet()
	files := parseDir(t, fset)
	examples := make(map[string]*doc.Example)
	uses := make(map[string]bool) // name used in the file of an example, as "Graph_Start Wait"
	for _, f := range files {
		names := identifiers(f)
		for _, e := range doc.Examples(f) {
			examples[e.Name] = e
			for name := range names {
				uses[e.Name+" "+name] = true
			}
			if reason := compileOnly[e.Name]; e.Output == "" && !e.EmptyOutput && reason == "" {
				t.Errorf("Example%s has no output, and is not run", e.Name)
			}
		}
	}
	rig := identifiers(files["example_rig_test.go"])
	found := make(map[string]bool)
	for _, name := range exported(t, fset, files) {
		found[name] = true
		typ, method, isMethod := strings.Cut(name, ".")
		if isMethod && slices.Contains(ofAll, method) {
			continue
		}
		has := hasExample(examples, strings.ReplaceAll(name, ".", "_"))
		by, shown := shownBy[name]
		_, excused := needsNone[name]
		switch {
		case (shown || excused) && has || shown && excused:
			t.Errorf("%s is on a list of this test and has an Example, or is on two: take it off", name)
		case has || excused:
		case !shown:
			t.Errorf("%s has no Example: write one, Example%s", name, strings.ReplaceAll(name, ".", "_"))
		case !hasExample(examples, by):
			t.Errorf("%s is said to be shown by Example%s, which does not exist", name, by)
		default:
			word := typ
			if isMethod {
				word = method
			}
			if !uses[by+" "+word] && !rig[word] {
				t.Errorf("%s is said to be shown by Example%s, whose file does not use it", name, by)
			}
		}
	}
	for _, list := range []map[string]string{shownBy, needsNone} {
		for name := range list {
			if !found[name] {
				t.Errorf("%s is on a list of this test and does not exist", name)
			}
		}
	}
	for name := range compileOnly {
		if examples[name] == nil {
			t.Errorf("Example%s is on a list of this test and does not exist", name)
		}
	}
}

// hasExample reports whether there is an Example of that name, with or without a suffix.
func hasExample(examples map[string]*doc.Example, name string) bool {
	for n := range examples {
		rest, ok := strings.CutPrefix(n, name+"_")
		if n == name || ok && rest != "" && !ast.IsExported(rest) {
			return true
		}
	}
	return false
}

// exported returns the exported functions as "Via", and methods of exported types as "Graph.Run".
func exported(t *testing.T, fset *token.FileSet, files map[string]*ast.File) []string {
	t.Helper()
	var of []*ast.File
	for name, f := range files {
		if !strings.HasSuffix(name, "_test.go") {
			of = append(of, f)
		}
	}
	pkg, err := doc.NewFromFiles(fset, of, module+"flow")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	add := func(prefix string, funcs []*doc.Func) {
		for _, f := range funcs {
			names = append(names, prefix+f.Name)
		}
	}
	add("", pkg.Funcs)
	for _, typ := range pkg.Types {
		add("", typ.Funcs)
		add(typ.Name+".", typ.Methods)
	}
	if len(names) < 50 {
		t.Fatalf("only %d exported functions found", len(names))
	}
	return names
}

func identifiers(f *ast.File) map[string]bool {
	names := make(map[string]bool)
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			names[s.Sel.Name] = true
		}
		return true
	})
	return names
}

func parseDir(t *testing.T, fset *token.FileSet) map[string]*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]*ast.File)
	for _, name := range names {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = f
	}
	return files
}
