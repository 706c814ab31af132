package faulttest

import (
	"encoding/json"
	"os"
	"time"
)

// job is the configuration of a worker process.
type job struct {
	streams
	behaviour

	Lease         time.Duration
	Block         time.Duration
	Drain         time.Duration
	InFlight      int
	Workers       int
	Unordered     bool
	Pipelines     int
	Replicas      int // replicas that must have an output before its input is acked
	MaxDeliveries int
	NackAfter     time.Duration // fault policy: one retry, then a nack with this delay; 0: the default policy

	Seed    uint64
	Variant string // name of a hand-written worker to run instead of a graph
	Crash   crash
}

// streams are what a worker reads and writes.
type streams struct {
	URL       string // of the input
	OutputURL string // of the output, if it is on another server
	Input     string
	Output    string
	Group     string
	Dead      string // key of the dead letters; "": the default
}

// behaviour is how the handler of a worker behaves.
type behaviour struct {
	Work    time.Duration // upper bound of a call's duration
	Slow    chance        // slow calls
	Fails   float64       // probability of an error
	Panic   float64       // probability of a panic
	Timeout time.Duration // of a call
}

// chance describes a random event.
type chance struct {
	Of  float64
	For time.Duration
}

// crash makes a worker kill itself when it reaches a step for the n-th time.
type crash struct {
	Step string
	Hit  int
}

const jobEnv = "STREAMERSON_FAULTS_JOB"

// encode returns the environment variable that passes the job to a worker.
func (j job) encode() string {
	b, err := json.Marshal(j)
	if err != nil {
		panic(err) // all its fields can be encoded
	}
	return jobEnv + "=" + string(b)
}

// word is one line of JSON that a worker writes to its standard output.
type word struct {
	Goroutines  int            `json:"goroutines"`
	Resident    uint64         `json:"resident"`
	InFlight    int            `json:"in_flight"`
	Handled     uint64         `json:"handled"`
	Events      map[string]int `json:"events,omitempty"`      // events that the reader reported, in entries
	Unknown     int            `json:"unknown,omitempty"`     // writes without a reply, which may have been executed
	Last        bool           `json:"last,omitempty"`        // the worker ends
	Err         string         `json:"err,omitempty"`         // the error that ended it, if any
	Drain       time.Duration  `json:"drain,omitempty"`       // duration of the drain
	Released    uint64         `json:"released,omitempty"`    // entries released unfinished
	Uncommitted uint64         `json:"uncommitted,omitempty"` // entries that the server does not know to be settled
	Late        delays         `json:"late"`
}

// Worker runs this process as a worker and exits, if a trial started it as one. Programs and tests
// that run trials call it first.
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
