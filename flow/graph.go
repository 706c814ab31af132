package flow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Graph is a blueprint: a set of branches, each from sources to one sink. It may run many times,
// also concurrently. Each run has its own stages, leases and credits.
type Graph struct {
	name     string
	branches []Branch
	graphConfig
	nodes []*node // from the sources to the sinks, each once
	names map[*node]string
}

// Part is an argument of New: a Branch or a GraphOption.
type Part interface{ part(*Graph) }

func (b Branch) part(g *Graph) { g.branches = append(g.branches, b) }

// New makes a graph of branches and options. It starts nothing. Validate reports mistakes.
func New(name string, parts ...Part) *Graph {
	g := &Graph{name: name, graphConfig: newGraphConfig()}
	for _, p := range parts {
		if p != nil {
			p.part(g)
		}
	}
	g.walk()
	return g
}

// Name returns the graph's name.
func (g *Graph) Name() string { return g.name }

// walk finds the nodes that the branches reach, and names them.
func (g *Graph) walk() {
	seen := make(map[*node]bool)
	var visit func(n *node)
	visit = func(n *node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		for _, in := range n.ins {
			visit(in.node)
		}
		g.nodes = append(g.nodes, n)
	}
	for _, b := range g.branches {
		visit(b.node)
	}
	g.names = make(map[*node]string, len(g.nodes))
	taken := make(map[string]bool)
	for _, n := range g.nodes {
		if n.named {
			taken[n.name] = true
			g.names[n] = n.name
		}
	}
	for _, n := range g.nodes {
		if n.named {
			continue
		}
		name := n.name
		for i := 2; taken[name]; i++ {
			name = fmt.Sprintf("%s-%d", n.name, i)
		}
		taken[name] = true
		g.names[n] = name
	}
}

// Validate returns all mistakes in the blueprint at once: *BuildErrors, joined. Run and Start call
// it first.
func (g *Graph) Validate() error {
	v := &validation{g: g}
	v.graph()
	v.stages()
	v.wiring()
	v.credits()
	v.loops()
	return errors.Join(v.errs...)
}

type validation struct {
	g    *Graph
	errs []error
}

func (v *validation) issue(n *node, e BuildError) {
	e.Graph = v.g.name
	if n != nil {
		e.Stage = v.g.names[n]
	}
	v.errs = append(v.errs, &e)
}

func (v *validation) graph() {
	if v.g.name == "" {
		v.issue(nil, BuildError{Issue: "it has no name", Fix: "give New a name"})
	}
	if len(v.g.branches) == 0 {
		v.issue(nil, BuildError{Issue: "it has no branches", Fix: "give New one or more flow.To(source, sink)"})
	}
	for _, b := range v.g.branches {
		if b.node == nil {
			v.issue(nil, BuildError{Issue: "a branch is the zero Branch", Fix: "make branches with flow.To"})
		}
	}
	for _, e := range v.g.issues {
		v.issue(nil, e)
	}
}

func (v *validation) stages() {
	named := make(map[string]bool)
	for _, n := range v.g.nodes {
		for _, e := range n.issues {
			v.issue(n, e)
		}
		if n.named {
			if named[n.name] {
				v.issue(n, BuildError{Issue: "two stages have this name", Fix: "give each stage a name of its own"})
			}
			named[n.name] = true
		}
		if n.workers < 2 && (n.unordered || n.keyedBy != nil) {
			v.issue(n, BuildError{Issue: "Unordered or KeyedBy without Workers", Fix: "add Workers(n) with n > 1"})
		}
		if n.unordered && n.keyedBy != nil {
			v.issue(n, BuildError{Issue: "both Unordered and KeyedBy", Fix: "choose one"})
		}
		why := n.OneWorker
		if n.kind == kindSource {
			why = "a source reads on one goroutine; give the workers to the stage after it"
		}
		if n.workers > 1 && why != "" {
			v.issue(n, BuildError{Field: "Workers", Issue: "this stage takes no workers", Fix: why})
		}
	}
}

// wiring finds outputs that are not read, and outputs that are read more than once.
func (v *validation) wiring() {
	readers := make(map[input][]*node)
	for _, n := range v.g.nodes {
		for _, in := range n.ins {
			if in.node != nil {
				readers[in] = append(readers[in], n)
			}
		}
	}
	seen := make(map[*node]bool)
	for _, b := range v.g.branches {
		if b.node != nil && seen[b.node] {
			v.issue(b.node, BuildError{Issue: "its branch was given to the graph twice", Fix: "give each branch once"})
		}
		seen[b.node] = true
	}
	for _, n := range v.g.nodes {
		for port := range n.ports {
			out := ""
			if n.ports > 1 {
				out = fmt.Sprintf(" %d", port)
			}
			switch by := readers[input{n, port}]; {
			case len(by) == 0:
				v.issue(n, BuildError{Issue: "no stage reads its output" + out,
					Fix: "end it with flow.To in a branch of this graph; sink.Discard takes unneeded messages"})
			case len(by) > 1:
				names := make([]string, len(by))
				for i, r := range by {
					names[i] = fmt.Sprintf("%q", v.g.names[r])
				}
				v.issue(n, BuildError{Issue: fmt.Sprintf("its output%s is used %d times, by %s", out, len(by),
					strings.Join(names, ", ")), Fix: "a Source may be used once; copy it with operators.FanOut"})
			}
		}
	}
}

// credits refuses holders that can wait for more messages than their sources admit to the graph.
func (v *validation) credits() {
	for _, src := range v.g.nodes {
		if src.kind != kindSource || src.maxInFlight < 1 {
			continue
		}
		sum := 0
		for _, n := range v.g.nodes {
			if n.Holds == 0 || n.NeverWaits || !reaches(src, n) {
				continue
			}
			w := widthBefore(n)
			all := n.Holds * w.message
			if all > src.maxInFlight && (n.HoldsFor <= 0 || !w.many) {
				v.issue(n, BuildError{
					Issue: fmt.Sprintf("it waits for messages of %s, but source %q lets at most %d into the graph",
						entries(all), v.g.names[src], src.maxInFlight),
					Fix: fmt.Sprintf("make it smaller, or give the source flow.MaxInFlight(%d) or more", all),
				})
			} else if n.HoldsFor <= 0 {
				sum += (n.Holds-1)*w.message + 2*w.pinned
			}
		}
		if sum >= src.maxInFlight {
			v.issue(src, BuildError{
				Issue: fmt.Sprintf("deadlock: the stages behind it may hold %s without passing any on, "+
					"but it lets at most %d into the graph", entries(sum), src.maxInFlight),
				Fix: fmt.Sprintf("give it flow.MaxInFlight(%d) or more, or give the stages a time limit", sum+1),
			})
		}
	}
}

// loops refuses holders without a time limit in loops: the end of a loop waits for what they hold.
func (v *validation) loops() {
	for _, x := range v.g.nodes {
		if x.loop == nil {
			continue
		}
		if !reaches(x.loop, x) {
			v.issue(x, BuildError{Field: "build", Issue: "what it returns does not come from the loop",
				Fix: "make both results of the source that build receives"})
		}
		for _, n := range v.g.nodes {
			if n != x && n.Holds > 0 && n.HoldsFor <= 0 && reaches(x.loop, n) && reaches(n, x) {
				v.issue(n, BuildError{
					Issue: "it holds messages without a time limit in a loop, which therefore cannot end",
					Fix:   "give it a time limit, or put it behind the loop",
				})
			}
		}
	}
}

// width is the number of entries that a message may stand for: its own, and entries that stay
// unsettled with it because they share a join that was split again. A stage may see the end of one
// such join and the beginning of the next.
type width struct {
	message, pinned int
	many            bool // one entry may have become many messages
}

// widthBefore returns the width of the messages that a stage receives, as far as the blueprint
// shows.
func widthBefore(n *node) width {
	most := width{message: 1}
	for _, in := range n.ins {
		if in.node != nil {
			w := widthAfter(in.node, widthBefore(in.node))
			most = width{max(most.message, w.message), max(most.pinned, w.pinned), most.many || w.many}
		}
	}
	return most
}

// widthAfter returns the width of the messages that a stage emits, given the width of those it
// receives.
func widthAfter(n *node, w width) width {
	switch {
	case n.Holds > 0 && n.Joins:
		return width{message: n.Holds*w.message + 2*w.pinned, many: w.many}
	case n.emits && n.Holds == 0 && w.message > 1: // its outputs may be parts of one join
		return width{message: 1, pinned: w.message, many: true}
	case n.emits && n.Holds == 0:
		w.many = true
		return w
	default:
		return w
	}
}

// reaches reports whether messages of a source reach a stage.
func reaches(src, n *node) bool {
	return n == src ||
		slices.ContainsFunc(n.ins, func(in input) bool { return in.node != nil && reaches(src, in.node) })
}
