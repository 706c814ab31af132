package flow

// nesting is the part of a lane about the lane that it is nested in.
type nesting struct {
	outer   *lane
	exit    any    // a func([]Message[U]): passes on what leaves the sub-pipeline
	strayed func() // has the holds settled that were ended outside their handler's calls
}

// strayed notes that a hold was ended. Any goroutine may call it.
func (la *lane) strayed() {
	if la.nest == nil {
		wake(la.wake)
		return
	}
	la.nest.strayed()
	la.nest.outer.strayed()
}

// measures makes the gauges of stages that are nested in the lane, which does not live yet. Lanes of
// keys have none.
func (la *lane) measures(nodes []*node) {
	if la.nest != nil {
		return
	}
	for _, n := range nodes {
		la.stages = append(la.stages, &stageBase{la: la, st: la.run.stages[n]})
	}
}

// gaugeOf returns the gauge of a stage that is nested in the lane.
func (la *lane) gaugeOf(st *stageRun) *stageBase {
	for la.nest != nil {
		la = la.nest.outer
	}
	for _, s := range la.stages {
		if s.st == st {
			return s
		}
	}
	return nil
}

// exits returns a function that makes the ends of sub-pipelines in la. They pass messages on to
// behind. If la is aborted there, the key's lane is.
func exits[U any](la *lane, behind func([]Message[U])) func(*lane) any {
	return func(of *lane) any {
		return func(ms []Message[U]) {
			behind(ms)
			of.aborted = of.aborted || la.aborted
		}
	}
}
