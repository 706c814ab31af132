package faulttest

import "slices"

// Scenarios returns all scenarios in the order in which they run.
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

// proofs are scenarios about the harness itself, and about crashes at a chosen step.
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
