package operators_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	command "os/exec"
	"strings"
	"testing"
)

// In go-streams edges are channels of any, and stages that do not fit panic at the first element.
// Here they do not compile. Named after a defect of another system; see defects_list_test.go of
// package source.
func TestG7_StagesThatDoNotFitDoNotCompile(t *testing.T) {
	check := checker(t)
	const mismatch = "does not match"
	for code, want := range map[string]string{
		// These fit, so the errors below are the intended ones.
		`_ = flow.To(operators.Map(numbers, text), sink.Discard[string]())`:                               "",
		`_ = flow.To(operators.FanIn(numbers, numbers), sink.Discard[int]())`:                             "",
		`_ = flow.To(numbers, sink.Discard[string]())`:                                                    mismatch,
		`_ = operators.Map(operators.Map(numbers, text), text)`:                                           mismatch,
		`_ = operators.FanIn(numbers, operators.Map(numbers, text))`:                                      mismatch,
		`_ = operators.Filter(numbers, func(context.Context, string) (bool, error) { return true, nil })`: mismatch,
		`_ = flow.To(operators.Batch(numbers, 2, time.Second), sink.Discard[int]())`:                      mismatch,
		`_ = operators.Partition(numbers, 2, func(string) int { return 0 })`:                              mismatch,
		`var _ flow.Source[string] = source.Stream(nil, source.StreamConfig[int]{})`:                      "cannot use",
	} {
		err := check(code)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\ngot %v, want %q", code, err, want)
		}
	}
}

// checker returns a function that type-checks a statement against the compiled packages.
func checker(t *testing.T) func(code string) error {
	const module = "github.com/streamerson/streamerson-go/"
	cmd := command.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export",
		module+"flow", module+"operators", module+"source", module+"sink")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := make(map[string]string)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
	}
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return func(code string) error {
		file, err := parser.ParseFile(fset, "code.go", `package code
import (
	"context"; "strconv"; "time"
	"`+module+`flow"; "`+module+`operators"; "`+module+`source"; "`+module+`sink"
)
var _ time.Duration
func _(numbers flow.Source[int]) {
	text := func(_ context.Context, n int) (string, error) { return strconv.Itoa(n), nil }
	_, _, _ = operators.Map[int, string], source.Of[int], sink.Discard[int]
	_ = text
	`+code+`
}`, 0)
		if err != nil {
			return err
		}
		_, err = (&types.Config{Importer: imp}).Check("code", fset, []*ast.File{file}, nil)
		return err
	}
}
