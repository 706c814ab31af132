package flow

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/streamerson/streamerson-go/"

// arrows lists the project's packages that each package may import, by top-level folder. Tests may
// import more. So may commands, because nothing imports them.
var arrows = map[string][]string{
	"flow":      {},
	"redisio":   {},
	"operators": {"flow"},
	"source":    {"flow", "redisio"},
	"sink":      {"flow", "redisio"},
	"gateways":  {"flow", "redisio", "source", "operators", "sink"},
	"bench":     {"flow", "redisio", "source", "operators", "sink", "gateways"},
	"examples":  {"flow", "redisio", "source", "operators", "sink", "gateways"},
}

// floors are the packages of redisio and of gateways from top to bottom. Each imports those of lower
// floors only. What tests share, internal/rig, may import all of them.
var floors = map[string][][]string{
	"redisio": {
		{"doctor"},
		{"contract"},
		{"admin", "dead", "gather"},
		{"reader"},
		{"writer", "jobstate"},
		{"schedule", "dedupe", "ratelimit", "transcript", "streamersonv1", "view", "eventstore", "embedded", "redistest"},
		{"internal/probe"},
		{"internal/check", "internal/script", "internal/held", "internal/groupinfo", "internal/acl"},
		{"internal/conn"},
		{"internal/resp"},
		{""},
		{"internal/fault", "internal/scan", "internal/server"},
	},
	"gateways": {
		{"app", "metrics", "tracing", "inspect"},
		{"parts", "scale"},
		{"ws", "sse", "jobs", "durable"},
		{"web", "events", "scatter", "projection"},
		{"internal/bodies"},
		{"internal/problem"},
		{""},
		{"internal/plan", "internal/outbox", "internal/relay"},
		{"internal/wire", "internal/slot", "internal/cors", "internal/places", "internal/strictjson", "internal/wait",
			"internal/traces", "internal/eventstream"},
	},
}

// TestFloors checks that the packages of redisio and of gateways import only downwards.
func TestFloors(t *testing.T) {
	floor := make(map[string]int)
	for room, levels := range floors {
		for i, names := range levels {
			for _, name := range names {
				dir := path.Join(room, name)
				if _, twice := floor[dir]; twice {
					t.Errorf("%s is on two floors", dir)
				}
				floor[dir] = i
			}
		}
	}
	eachFile(t, func(name string, f *ast.File, fset *token.FileSet) {
		dir := path.Dir(name)
		room, _, _ := strings.Cut(dir, "/")
		from, known := floor[dir]
		if !known || strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			to, ours := strings.CutPrefix(imported, module)
			at, known := floor[to]
			if ours && known && at <= from && strings.HasPrefix(to+"/", room+"/") {
				t.Errorf("%s: %s must not import %s", fset.Position(spec.Pos()), dir, to)
			}
		}
	})
}

// TestArrows checks that the imports of all packages point in one direction.
func TestArrows(t *testing.T) {
	eachFile(t, func(name string, f *ast.File, fset *token.FileSet) {
		if strings.HasPrefix(name, "redisio/cmd/") {
			return
		}
		from, _, _ := strings.Cut(name, "/")
		allowed, known := arrows[from]
		if !known {
			t.Errorf("%s: a package outside the layout", name)
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			to, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			to, _, _ = strings.Cut(to, "/")
			if to != from && !slices.Contains(allowed, to) && !strings.HasSuffix(name, "_test.go") {
				t.Errorf("%s: %s must not import %s", fset.Position(spec.Pos()), from, to)
			}
		}
	})
}

// TestEmbeddedServerStaysOut checks that only redisio/embedded, the examples and the benchmarks
// import the in-process server, so other builds do not contain it.
func TestEmbeddedServerStaysOut(t *testing.T) {
	eachFile(t, func(name string, f *ast.File, fset *token.FileSet) {
		dir := path.Dir(name)
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(dir, "examples") ||
			strings.HasPrefix(dir, "bench") {
			return
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if strings.Contains(imported, "miniredis") && dir != "redisio/embedded" {
				t.Errorf("%s: %s imports %s", fset.Position(spec.Pos()), dir, imported)
			}
			if strings.HasSuffix(imported, "redisio/embedded") && dir != "redisio/internal/rig" { // of tests
				t.Errorf("%s: %s imports the in-process server", fset.Position(spec.Pos()), dir)
			}
		}
	})
}

// TestGoStatements checks that goroutines are started only in the packages that own them.
func TestGoStatements(t *testing.T) {
	eachFile(t, func(name string, f *ast.File, fset *token.FileSet) {
		dir := path.Dir(name)
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(dir, "flow/internal") ||
			strings.HasPrefix(dir, "redisio") || strings.HasPrefix(dir, "bench") || strings.HasPrefix(dir, "examples") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a go statement outside flow/internal and redisio", fset.Position(n.Pos()))
			}
			return true
		})
	})
}

// TestSizes checks that packages, files and functions stay small enough to read. Tests may be larger.
func TestSizes(t *testing.T) {
	const files, fileLines, funcLines = 40, 400, 70
	in := make(map[string]int)
	eachFile(t, func(name string, f *ast.File, fset *token.FileSet) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		in[path.Dir(name)]++
		if n := fset.Position(f.FileEnd).Line - 1; n > fileLines {
			t.Errorf("%s has %d lines, want at most %d", name, n, fileLines)
		}
		for _, d := range f.Decls {
			fn, is := d.(*ast.FuncDecl)
			if !is {
				continue
			}
			from, to := fset.Position(fn.Pos()), fset.Position(fn.End())
			if n := to.Line - from.Line + 1; n > funcLines {
				t.Errorf("%s: the function has %d lines, want at most %d", from, n, funcLines)
			}
		}
	})
	for dir, n := range in {
		if n > files {
			t.Errorf("%s has %d files, want at most %d: a package is more than one idea", dir, n, files)
		}
	}
}

// eachFile parses all Go files of the module. Names are relative to its root.
func eachFile(t *testing.T, f func(name string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || d.Name() == "peers" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		n++
		f(strings.TrimPrefix(filepath.ToSlash(p), "../"), file, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 20 {
		t.Fatalf("only %d files found: is this the module's root?", n)
	}
}

// TestReadmeCode checks that each piece of Go in the README is compiled: some file contains it word
// for word.
func TestReadmeCode(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	eachFile(t, func(name string, _ *ast.File, _ *token.FileSet) {
		text, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	})
	blocks := strings.Split(string(readme), "```go\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("%d pieces of Go in the README", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(all.String(), code) {
			t.Errorf("in no file of the project:\n%s", code)
		}
	}
}

// TestReadmeOperators compares the README's table to what package operators exports.
func TestReadmeOperators(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "## Operators")
	eachFile(t, func(name string, f *ast.File, fset *token.FileSet) {
		if path.Dir(name) != "operators" || strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Recv == nil && fn.Name.IsExported() && !strings.Contains(table, "`"+fn.Name.Name+"`") {
				t.Errorf("%s: the README's table lacks %s", fset.Position(fn.Pos()), fn.Name.Name)
			}
		}
	})
}

// pageWidth is the widest a line may be, with tabs of four columns.
const pageWidth = 120

// TestLineWidth checks that lines fit the page. Rows of tables in tests, raw strings and the expected output of
// examples may be wider.
func TestLineWidth(t *testing.T) {
	eachFile(t, func(name string, f *ast.File, fset *token.FileSet) {
		text, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		exempt := mayBeWide(f, fset, strings.HasSuffix(name, "_test.go"))
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			if w := columns(strings.TrimRight(line, "\n")); w > pageWidth && !exempt[n] {
				t.Errorf("%s:%d: the line has %d columns, want at most %d: wrap it", name, n, w, pageWidth)
			}
		}
	})
}

// columns returns the width of a line.
func columns(line string) (n int) {
	for _, r := range line {
		if n++; r == '\t' {
			n = (n + 3) / 4 * 4
		}
	}
	return n
}

// mayBeWide returns the numbers of the lines of a file that may be wider than others.
func mayBeWide(f *ast.File, fset *token.FileSet, test bool) map[int]bool {
	lines := make(map[int]bool)
	add := func(from, to token.Pos) {
		for n := fset.Position(from).Line; n <= fset.Position(to).Line; n++ {
			lines[n] = true
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if n.Kind == token.STRING && n.Value[0] == '`' {
				add(n.Pos(), n.End())
			}
		case *ast.CompositeLit:
			for _, row := range n.Elts {
				value := row
				if pair, ok := row.(*ast.KeyValueExpr); ok {
					value = pair.Value
				}
				inner, ok := value.(*ast.CompositeLit)
				if test && ok && inner.Type == nil && fset.Position(row.Pos()).Line == fset.Position(row.End()).Line {
					add(row.Pos(), row.End())
				}
			}
		}
		return true
	})
	for _, group := range f.Comments {
		if text := group.Text(); strings.HasPrefix(text, "Output:") || strings.HasPrefix(text, "Unordered output:") {
			add(group.Pos(), group.End())
		}
	}
	return lines
}
