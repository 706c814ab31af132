package doctor

import "strings"

// Severity is how bad a finding is.
type Severity int

const (
	Fine    Severity = iota // as it should be
	Note                    // good to know; nothing needs to change
	Warning                 // something may be lost or fail under certain conditions
	Problem                 // something is lost or fails
)

func (s Severity) String() string {
	names := [...]string{"ok", "note", "warning", "problem"}
	if s < 0 || int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// Finding is the result of one check.
type Finding struct {
	Check    string // stable: "memory/eviction", or "promise/read/order" for a rule of package contract
	Severity Severity
	Node     string // the address of a node of a cluster, else ""
	Text     string // what was found
	Fix      string // what to change; "" if nothing
	Detail   string // the error behind it, if any
}

// Identity is what a server is.
type Identity struct {
	Product string // "redis", "valkey", "dragonfly", "miniredis", … as it says; "" if it does not
	Version string // "" if it does not say
	Mode    string // how it is reached: "standalone", "cluster", "sentinel" or "" for another client
	Role    string // "master" or "replica"; "" if it does not say
	Nodes   int    // masters that were examined
	Proxy   bool   // requests of one connection reach several connections of the server
}

func (i Identity) String() string {
	var parts []string
	for _, p := range []string{strings.TrimSpace(i.Product + " " + i.Version), i.Mode, i.Role} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if i.Proxy {
		parts = append(parts, "behind a proxy")
	}
	if len(parts) == 0 {
		return "a server that does not say what it is"
	}
	return strings.Join(parts, ", ")
}

// Report is the result of an examination.
type Report struct {
	Server   Identity
	Findings []Finding // in the order of the checks
	Kept     int       // promises that hold
	Broken   int       // promises that do not
	Open     int       // promises that were not checked, and optional commands that the server lacks
}

// Worst returns the highest severity of the findings.
func (r *Report) Worst() (worst Severity) {
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}
