package faulttest

import (
	"encoding/json"
	"os"
	"time"
)

// job is what a worker process is told to do.
type job struct {
	URL       string // where the input is
	OutputURL string // and the output, if elsewhere
	Input     string
	Output    string
	Group     string
	Dead      string // "" is the default

	Lease         time.Duration
	Block         time.Duration
	Drain         time.Duration
	InFlight      int
	Workers       int
	Unordered     bool
	Pipelines     int
	Replicas      int // that must have an output before its input is acked
	MaxDeliveries int
	NackAfter     time.Duration // fault policy: one retry, then a nack with this delay; 0: the default policy
	Timeout       time.Duration // of the handler

	Work  time.Duration // a call takes up to this
	Slow  chance        // a call that takes long
	Fails float64       // the probability of an error
	Panic float64       // and of a panic
	Seed  uint64

	Variant string // not a graph, but one of the hand-written workers
	Crash   crash
}

// chance is something that happens at random.
type chance struct {
	Of  float64
	For time.Duration
}

// crash tells a worker to kill itself when it comes to a step for the n-th time.
type crash struct {
	Step string
	Hit  int
}

const jobEnv = "STREAMERSON_FAULTS_JOB"

// encode is the environment of the worker that does the job.
func (j job) encode() string {
	b, err := json.Marshal(j)
	if err != nil {
		panic(err) // plain values
	}
	return jobEnv + "=" + string(b)
}

// word is one line that a worker says about itself, on its standard output.
type word struct {
	Goroutines  int            `json:"goroutines"`
	Resident    uint64         `json:"resident"`
	InFlight    int            `json:"in_flight"`
	Handled     uint64         `json:"handled"`
	Events      map[string]int `json:"events,omitempty"`      // what the reader noticed, in entries
	Unknown     int            `json:"unknown,omitempty"`     // writes whose reply was lost
	Last        bool           `json:"last,omitempty"`        // it ends
	Err         string         `json:"err,omitempty"`         // why, if not because it was asked to
	Drain       time.Duration  `json:"drain,omitempty"`       // how long that took
	Released    uint64         `json:"released,omitempty"`    // entries given back unfinished
	Uncommitted uint64         `json:"uncommitted,omitempty"` // and such that the server does not know to be done
}

// Worker makes this process a worker and ends it, if a trial started it as one. Programs and tests
// that run trials call it first of all.
func Worker() {
	text := os.Getenv(jobEnv)
	if text == "" {
		return
	}
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		_, _ = os.Stderr.WriteString("faulttest: " + jobEnv + ": " + err.Error() + "\n")
		os.Exit(2)
	}
	os.Exit(j.main())
}
