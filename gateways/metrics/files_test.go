package metrics_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	metricNames = regexp.MustCompile(`streamerson_[a-z_]+`)
	suffixes    = regexp.MustCompile(`_(bucket|sum|count)$`)
	variables   = regexp.MustCompile(`\$(__rate_interval|job|graph)\b`)
)

// families are the names of the metrics of a program that has all parts.
func families(t *testing.T) map[string]bool {
	t.Helper()
	e := expose(t)
	program(t, e)
	all := make(map[string]bool)
	for line := range strings.Lines(e.text(t)) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ = strings.Cut(name, " ")
			all[name] = true
		}
	}
	return all
}

// The files and the documentation use only metrics that exist, and the dashboard shows all that a
// program exposes or the documentation says what the rest is for.
func TestFilesUseMetricsThatExist(t *testing.T) {
	exist := families(t)
	for _, file := range []string{"dashboard.json", "alerts.yml", "alerts_test.yml", "doc.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := metricNames.FindAllString(string(text), -1)
		if len(names) < 10 {
			t.Errorf("%s: only %d metrics", file, len(names))
		}
		for _, name := range names {
			if name = suffixes.ReplaceAllString(name, ""); !exist[name] {
				t.Errorf("%s: no metric %s; there are %s", file, name, slices.Sorted(maps.Keys(exist)))
			}
		}
	}
}

// dashboard is the part of a Grafana dashboard that is checked.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct{ RefID, Expr, LegendFormat string }
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 36 || len(d.Panels) < 10 {
		t.Fatalf("dashboard %q, uid %q, schema %d, %d panels", d.Title, d.UID, d.SchemaVersion, len(d.Panels))
	}
	return d
}

// Each panel has a title, a text, a unit, queries with legends, and a place of its own.
func TestDashboardPanels(t *testing.T) {
	ids, taken := make(map[int]bool), make(map[[2]int]string)
	for _, p := range readDashboard(t).Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: its id is taken, or it has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q overlaps %q, or is outside the page", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q lacks a description, a unit or queries", p.Title)
		}
		refs := make(map[string]bool)
		for _, q := range p.Targets {
			if q.LegendFormat == "" || refs[q.RefID] || q.RefID == "" {
				t.Errorf("panel %q: query %q lacks a legend or a name of its own", p.Title, q.Expr)
			}
			refs[q.RefID] = true
		}
	}
}

// promtool parses each query of the dashboard, as the rule of a file.
func TestDashboardQueriesParse(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	n := 0
	for _, p := range readDashboard(t).Panels {
		for _, q := range p.Targets {
			expr := variables.ReplaceAllStringFunc(q.Expr, func(v string) string {
				if v == "$__rate_interval" {
					return "5m"
				}
				return ".*"
			})
			if strings.Contains(expr, "$") {
				t.Errorf("panel %q uses a variable that the dashboard lacks: %s", p.Title, q.Expr)
			}
			fmt.Fprintf(&rules, "  - record: dashboard:query_%d\n    expr: %q\n", n, expr)
			n++
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := tool(t, "promtool", "check", "rules", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("%d rules found", n)) {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}

func TestAlerts(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := tool(t, "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", args[0], err, out)
		}
	}
	rules, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(tests), m[1]) {
			t.Errorf("alert %s has no test", m[1])
		}
	}
}
