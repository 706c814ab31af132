package flow

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Description is a blueprint as data. Describe returns it; the drawings and the JSON form are made
// from it.
type Description struct {
	Graph  string             `json:"graph"`
	Stages []StageDescription `json:"stages"`
	Links  []LinkDescription  `json:"links"`
}

// StageDescription is one stage. Numbers that do not apply are zero.
type StageDescription struct {
	Name        string        `json:"name"`
	Kind        string        `json:"kind"` // source, stage, route, merge, sink or task
	Workers     int           `json:"workers,omitempty"`
	Order       string        `json:"order,omitempty"` // with several workers: kept, by key or any
	Async       bool          `json:"async,omitempty"`
	Holds       int           `json:"holds,omitempty"`         // messages its handler may keep after it returns
	HoldsFor    time.Duration `json:"holds_for,omitempty"`     // the longest time it keeps them; 0: no limit
	MaxInFlight int           `json:"max_in_flight,omitempty"` // of a source: its credits by count
	MaxBytes    int           `json:"max_bytes,omitempty"`     // of a source: its credits in bytes
	Chunk       int           `json:"chunk,omitempty"`
	// DeadLettersTo is the place of a source's dead letters, such as the key of a stream. It is
	// empty if the source does not name it.
	DeadLettersTo string `json:"dead_letters_to,omitempty"`
}

// LinkDescription is one link between two stages. An edge is a bounded channel between goroutines;
// a fused link is a call.
type LinkDescription struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Port  int    `json:"port,omitempty"`
	Edge  bool   `json:"edge"`
	Bound int    `json:"bound,omitempty"` // most messages the edge can hold
}

// Describe returns the blueprint as data, from the sources to the sinks.
func (g *Graph) Describe() Description {
	d := Description{Graph: g.name, Stages: []StageDescription{}, Links: []LinkDescription{}}
	for _, n := range g.nodes {
		s := StageDescription{
			Name:     g.names[n],
			Kind:     n.kind.String(),
			Async:    n.async,
			Holds:    n.Holds,
			HoldsFor: n.HoldsFor,
		}
		if n.kind == kindSource {
			s.MaxInFlight, s.MaxBytes, s.DeadLettersTo = n.maxInFlight, n.maxBytes, n.DeadLettersTo
		}
		if n.kind == kindSource || n.kind == kindSink {
			s.Chunk = n.chunk
		}
		if n.workers > 1 {
			s.Workers = n.workers
			switch {
			case n.keyedBy != nil:
				s.Order = "by key"
			case n.unordered:
				s.Order = "any"
			default:
				s.Order = "kept"
			}
		}
		d.Stages = append(d.Stages, s)
		for i, in := range n.ins {
			if in.node == nil {
				continue
			}
			if n.loop != nil && i == 1 {
				d.Links = append(d.Links, LinkDescription{
					From: g.names[in.node], To: g.names[n.loop], Port: in.port, Edge: true, Bound: n.loop.room,
				})
				continue
			}
			l := LinkDescription{From: g.names[in.node], To: g.names[n], Port: in.port, Edge: isEdge(in.node, n)}
			if l.Edge {
				l.Bound = (edgeDepth + 2) * boundaryOf(in.node, n).chunk
			}
			d.Links = append(d.Links, l)
		}
	}
	return d
}

// isEdge reports whether the link between two stages crosses goroutines.
func isEdge(from, to *node) bool {
	return from.kind == kindSource && !from.Inline || from.kind == kindRoute || beginsInEdge(from, to)
}

// beginsInEdge reports whether a stage has its own goroutine, with an edge of its own before it.
func beginsInEdge(from, to *node) bool {
	return to.kind == kindMerge || to.workers > 1 || to.async && !from.endsInEdge()
}

// endsInEdge reports whether the stage after this one always has its own goroutine.
func (n *node) endsInEdge() bool {
	return n.kind == kindSource && !n.Inline || n.kind == kindRoute || n.kind == kindMerge || n.workers > 1
}

// boundaryOf returns the stage that determines the chunk size of the edge between two stages.
func boundaryOf(from, to *node) *node {
	if from.kind == kindSource && !from.Inline && to.workers > 1 && to.kind != kindSink {
		return from // it sends the chunks it reads directly to the workers
	}
	if beginsInEdge(from, to) {
		return to
	}
	return from
}

// String returns the description as a table: the stages, and the limits of what each may keep in
// memory.
func (d Description) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "graph %s\n", d.Graph)
	for _, s := range d.Stages {
		fmt.Fprintf(w, "  %s\t%s", s.Name, s.Kind)
		if notes := s.notes(); len(notes) > 0 {
			fmt.Fprintf(w, "\t%s", strings.Join(notes, ", "))
		}
		fmt.Fprintln(w)
	}
	for _, l := range d.Links {
		if l.Edge {
			fmt.Fprintf(w, "  %s -> %s\tedge\tat most %d messages\n", l.From, l.To, l.Bound)
		}
	}
	w.Flush()
	return b.String()
}

func (s StageDescription) notes() []string {
	var notes []string
	if s.MaxInFlight > 0 {
		notes = append(notes, fmt.Sprintf("at most %d entries and %d bytes in flight", s.MaxInFlight, s.MaxBytes))
	}
	if s.Workers > 0 {
		notes = append(notes, fmt.Sprintf("%d workers, order %s", s.Workers, s.Order))
	}
	if s.Holds > 0 {
		hold := fmt.Sprintf("holds at most %d", s.Holds)
		if s.HoldsFor > 0 {
			hold += fmt.Sprintf(" for at most %v", s.HoldsFor)
		}
		notes = append(notes, hold)
	}
	return notes
}

// MarshalJSON returns Describe's result as JSON.
func (g *Graph) MarshalJSON() ([]byte, error) { return json.Marshal(g.Describe()) }

// Mermaid draws the graph as a Mermaid flowchart. Thick arrows are edges between goroutines; thin
// arrows are calls.
func (g *Graph) Mermaid() string {
	d := g.Describe()
	ids := d.ids()
	var b strings.Builder
	fmt.Fprintf(&b, "---\ntitle: %s\n---\nflowchart LR\n", mermaidText(d.Graph))
	for _, s := range d.Stages {
		shape := shapes[s.Kind]
		fmt.Fprintf(&b, "    %s%s\"%s\"%s\n", ids[s.Name], shape.left, mermaidText(s.label()), shape.right)
	}
	for _, l := range d.Links {
		arrow := "-->"
		if l.Edge {
			arrow = "==>"
		}
		fmt.Fprintf(&b, "    %s %s %s\n", ids[l.From], arrow, ids[l.To])
	}
	return b.String()
}

// DOT draws the graph in the language of Graphviz. Bold arrows are edges between goroutines; thin
// arrows are calls.
func (g *Graph) DOT() string {
	d := g.Describe()
	ids := d.ids()
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n    rankdir=LR\n", d.Graph)
	for _, s := range d.Stages {
		fmt.Fprintf(&b, "    %s [label=%q shape=%s]\n", ids[s.Name], s.label(), shapes[s.Kind].dot)
	}
	for _, l := range d.Links {
		style := ""
		if l.Edge {
			style = " [style=bold]"
		}
		fmt.Fprintf(&b, "    %s -> %s%s\n", ids[l.From], ids[l.To], style)
	}
	b.WriteString("}\n")
	return b.String()
}

// shape is how a stage is drawn: between two brackets for Mermaid, by name for Graphviz.
type shape struct{ left, right, dot string }

var shapes = map[string]shape{
	"source": {"([", "])", "oval"},
	"stage":  {"[", "]", "box"},
	"route":  {"{{", "}}", "hexagon"},
	"merge":  {"((", "))", "circle"},
	"sink":   {"[(", ")]", "cylinder"},
	"task":   {"[[", "]]", "component"},
}

// ids returns stage identifiers that both drawing languages accept.
func (d Description) ids() map[string]string {
	ids := make(map[string]string, len(d.Stages))
	for i, s := range d.Stages {
		ids[s.Name] = fmt.Sprintf("s%d", i)
	}
	return ids
}

func (s StageDescription) label() string {
	if s.Workers > 0 {
		return fmt.Sprintf("%s ×%d", s.Name, s.Workers)
	}
	return s.Name
}

var mermaidEscaper = strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ")

func mermaidText(s string) string { return mermaidEscaper.Replace(s) }
