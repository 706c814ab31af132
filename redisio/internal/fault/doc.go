// Package fault classifies errors, and waits: what can never succeed, what may succeed later, what
// was not sent, and how long to pause.
package fault
