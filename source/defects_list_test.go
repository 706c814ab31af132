package source_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// The files defects_*_test.go reproduce defects of similar systems. Each test is named after the id
// of the defect in our list: W is watermill-redisstream, G go-streams, B Redpanda Connect, A asynq,
// O others, D streamerson for Node. A test's comment describes the defect there. The test recreates
// the circumstances and asserts the behaviour here.

// defects maps each letter to its number of defects.
var defects = map[string]int{"W": 10, "G": 7, "B": 6, "A": 5, "O": 10, "D": 28}

// notHere lists the defects without a test, and the reasons.
var notHere = map[string]string{}

// TestEveryDefectHasATest checks that each defect of the list has a test, and that no test has an
// unknown id.
func TestEveryDefectHasATest(t *testing.T) {
	named := regexp.MustCompile(`^Test([A-Z])([0-9]+)_[A-Z]`)
	found := make(map[string][]string)
	for _, dir := range []string{"../source", "../sink", "../operators", "../flow/flowtest", "../gateways",
		"../gateways/ws", "../redisio", "../redisio/reader", "../redisio/writer", "../redisio/schedule",
		"../redisio/dead",
		"../redisio/admin", "../redisio/dedupe", "../redisio/streamersonv1", "../redisio/internal/conn",
		"../redisio/internal/held", "../redisio/internal/resp"} {
		files, err := filepath.Glob(dir + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				if id := named.FindStringSubmatch(fn.Name.Name); id != nil {
					found[id[1]+id[2]] = append(found[id[1]+id[2]], fn.Name.Name)
				}
			}
		}
	}
	for letter, n := range defects {
		for i := 1; i <= n; i++ {
			id := letter + strconv.Itoa(i)
			tests, reason := found[id], notHere[id]
			if len(tests) == 0 && reason == "" {
				t.Errorf("%s has neither a test nor a reason", id)
			}
			if len(tests) > 0 && reason != "" {
				t.Errorf("%s has the tests %v, and a reason to have none: %s", id, tests, reason)
			}
			delete(found, id)
		}
	}
	for id, tests := range found {
		t.Errorf("%v: there is no defect %s", tests, id)
	}
}
