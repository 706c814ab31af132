package flow

// Idea of turns: a stage may read its inputs one after the other. Without turns, the sources of the
// later inputs would read until their credits are used up. These entries would wait with their
// leases. So a source does not read before some stage wants its messages. A stage says so when it
// first picks the input that they come from.

// InTurn has the sources of a stage with several inputs begin to read when the stage first picks
// their input: see Picker. Until then they are open and read nothing. A source begins to read as
// always if its messages also reach another stage, or an input that was picked. The option is for
// operators made with Gather or Pair if their handler is a Picker.
func InTurn() StageOption { return stageOption(func(c *stageConfig) { c.inTurn = true }) }

// awaitTurns keeps a source from reading if its messages reach only inputs that were not picked. It
// is called before the graph runs.
func (r *Running) awaitTurns() {
	for _, s := range r.sources {
		s.early = !r.wants(s.node)
	}
}

// picked notes that a stage wants an input. Any goroutine may call it.
func (st *stageRun) picked(port int) {
	if st.begun == nil || port >= len(st.begun) || st.begun[port].Swap(true) {
		return
	}
	for _, s := range st.run.sources {
		if st.run.wants(s.node) {
			s.beginTurn()
		}
	}
}

// wants reports whether a stage wants the messages of a source.
func (r *Running) wants(src *node) bool {
	for _, n := range r.graph.nodes {
		if n.kind == kindSink && r.begins(n, src) {
			return true
		}
	}
	return false
}

// begins reports whether messages of a source reach n through inputs that were picked.
func (r *Running) begins(n, src *node) bool {
	if n == src {
		return true
	}
	begun := r.stages[n].begun
	for i, in := range n.ins {
		if (begun == nil || begun[i].Load()) && r.begins(in.node, src) {
			return true
		}
	}
	return false
}

// beginTurn lets the source read.
func (s *sourceRun) beginTurn() {
	s.mu.Lock()
	was := s.early
	s.early = false
	s.mu.Unlock()
	if was {
		s.notify()
	}
}
