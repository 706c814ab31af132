package faulttest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMutants is P5: the harness must catch broken workers, otherwise its passes prove nothing.
func TestMutants(t *testing.T) {
	r := RunMutants(t.Context(), Options{Seed: 1, Logf: t.Logf})
	for _, f := range r.Findings {
		t.Errorf("%s: %s", f.Kind, f.Text)
	}
}

// TestCrashes is P4. It is short enough to run completely.
func TestCrashes(t *testing.T) {
	r := RunCrashes(t.Context(), Options{Seed: 1})
	t.Logf("%s: lost %d, duplicated %d (%d), took %v", r.Faults, r.Lost, r.Duplicated, r.Allowed, r.Took)
	for _, f := range r.Findings {
		t.Errorf("%s: %s", f.Kind, f.Text)
	}
}

// TestScenarios runs some scenarios in a very short form. `make faults` runs all.
func TestScenarios(t *testing.T) {
	for _, id := range []string{"R1", "R2", "R10 destroy"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			for _, s := range Scenarios() {
				if s.ID != id {
					continue
				}
				r := Run(t.Context(), s, Options{Seed: 1, quick: true})
				t.Logf(
					"%s: %s; lost %d, duplicated %d (%d), stall %v (%v)",
					r.Verdict(),
					r.Faults,
					r.Lost,
					r.Duplicated,
					r.Allowed,
					r.Stall,
					r.StallMost,
				)
				for _, f := range r.Findings {
					t.Errorf("%s: %s", f.Kind, f.Text)
				}
			}
		})
	}
}

func TestSelect(t *testing.T) {
	all, err := Select(nil, false)
	if err != nil || len(all) < 10 {
		t.Fatalf("%d scenarios, %v", len(all), err)
	}
	seen := make(map[string]bool)
	for _, s := range Scenarios() {
		if seen[s.ID] || s.What == "" || s.run == nil && s.whole == nil {
			t.Errorf("scenario %q is duplicated or incomplete", s.ID)
		}
		seen[s.ID] = true
	}
	some, err := Select([]string{"r1", "R10"}, false)
	if err != nil || len(some) < 4 || some[0].ID != "R1" || !strings.HasPrefix(some[1].ID, "R10 ") {
		t.Errorf("R1 and R10 are %v, %v", some, err)
	}
	if _, err := Select([]string{"R99"}, false); err == nil {
		t.Error("Select accepted the unknown R99")
	}
	for _, m := range Mutants() {
		if _, known := variants[m.Variant]; !known && m.Variant != "" {
			t.Errorf("mutant %q is not a variant", m.Variant)
		}
		if !seen[m.Scenario] {
			t.Errorf("mutant %q: no scenario %q", m.Variant, m.Scenario)
		}
	}
}

func TestParcelIDs(t *testing.T) {
	for _, poison := range append([]string{""}, poisons[:]...) {
		if id, err := idOf(string(payload(4711, poison))); id != 4711 || err != nil {
			t.Errorf("%q: %d, %v", poison, id, err)
		}
	}
	if _, err := idOf(`{"other":1}`); err == nil {
		t.Error("idOf found an id in data without one")
	}
}

func TestReport(t *testing.T) {
	results := []Result{
		{
			ID:         "R1",
			What:       "kills | more",
			Seed:       7,
			Messages:   100,
			Faults:     "3× kill",
			Duplicated: 2,
			Allowed:    9,
			Order:      -1,
			Stall:      time.Second,
			StallMost:  2 * time.Second,
		},
		{
			ID:       "R2",
			What:     "cuts",
			Seed:     7,
			Messages: 100,
			Lost:     1,
			Findings: []Finding{{kindLost, "1 message is lost: [3]"}},
		},
		{ID: "R12", What: "clocks", Seed: 7, Skipped: "no gcc"},
	}
	var table bytes.Buffer
	WriteTable(&table, results)
	path := filepath.Join(t.TempDir(), "report.md")
	if err := WriteReport(t.Context(), path, results, Options{Seed: 7, Long: true}, "R1,R2"); err != nil {
		t.Fatal(err)
	}
	markdown, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 (9)", "1.0 s (2.0 s)", "FAIL: lost", "skipped: no gcc"} {
		if !strings.Contains(table.String(), want) || !strings.Contains(string(markdown), want) {
			t.Errorf("%q is missing in\n%s\n%s", want, table.String(), markdown)
		}
	}
	for _, want := range []string{`kills \| more`, "-long -seed 7 -scenario R1,R2", "Redis "} {
		if !strings.Contains(string(markdown), want) {
			t.Errorf("%q is missing in\n%s", want, markdown)
		}
	}
}
