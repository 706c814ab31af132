package faulttest

import "slices"

// Scenarios are all there are, in the order in which they are run.
func Scenarios() []Scenario {
	return slices.Concat(
		workerScenarios,
		networkScenarios,
		serverScenarios,
		topologyScenarios,
		groupScenarios,
		handlerScenarios,
		limitScenarios,
		proofs(),
		soakScenarios,
	)
}

// proofs are about the harness, and about what only a crash at a chosen step shows.
func proofs() []Scenario {
	return []Scenario{
		{
			ID:    "P4",
			What:  "a worker kills itself at each step of read, decode, handle, write, ack and so on",
			whole: RunCrashes,
		},
		{ID: "P5", What: "deliberately broken workers must be caught", whole: RunMutants},
	}
}
