package contract

import (
	"fmt"
	"slices"
	"strings"
)

// Table collects the outcomes of the rules on several servers.
type Table struct {
	servers  []Server
	outcomes []map[string]Outcome
}

// Add adds a server.
func (t *Table) Add(s Server, outcomes []Outcome) {
	byName := make(map[string]Outcome)
	for _, o := range outcomes {
		byName[o.Rule.Name] = o
	}
	t.servers, t.outcomes = append(t.servers, s), append(t.outcomes, byName)
}

// Markdown returns the table as Markdown: one row per rule, one column per server.
func (t *Table) Markdown() string {
	var b strings.Builder
	b.WriteString("# Servers\n\nThe guarantees of package redisio, checked on each server by `make compat`.\n" +
		"\"ok\" means kept. \"lacks\" is an optional newer command that the server does not have.\n" +
		"\"differs\" is a known limit of the server, described below.\n\n| rule |")
	for _, s := range t.servers {
		b.WriteString(" " + s.Name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(t.servers)) + "\n")
	for _, r := range Rules() {
		b.WriteString("| " + r.Name + " |")
		for i := range t.servers {
			b.WriteString(" " + t.cell(i, r.Name) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## The rules\n\n")
	for _, r := range Rules() {
		fmt.Fprintf(&b, "- **%s**: %s\n", r.Name, r.Text)
	}
	for _, s := range t.servers {
		if len(s.Differs) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## What the %s server does differently\n\n", s.Name)
		var names []string
		for name := range s.Differs {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(&b, "- **%s**: %s\n", name, s.Differs[name])
		}
	}
	return b.String()
}

func (t *Table) cell(server int, rule string) string {
	o, checked := t.outcomes[server][rule]
	switch {
	case !checked:
		return "not checked"
	case o.Lacks != "":
		return "lacks"
	case o.Err == nil:
		return "ok"
	case t.servers[server].Differs[rule] != "":
		return "differs"
	}
	return "**broken**"
}
