package flow

import (
	"errors"
	"time"
)

// Traits are the properties that the author of an operator, a source or a sink declares. They are
// passed with the user's options to a constructor, such as Via or NewSource. If several are passed,
// the stage has the traits of all.
type Traits struct {
	// Holds is the number of messages that the stage's handler keeps after it returns (see Hold).
	// Defaults to 0. Validate compares it to the credits of the sources, because a stage that waits
	// for more messages than may be in flight waits forever.
	Holds int
	// HoldsFor is the longest time that the handler keeps a message. Zero means until it has Holds
	// messages.
	HoldsFor time.Duration
	// Joins means that the stage joins the messages it holds: one output message may stand for as
	// many as it holds.
	Joins bool
	// Passes means that the stage only passes its messages on one by one, holds them or joins them.
	// So an entry that has not passed this stage has not been begun, and a drain may give it back:
	// see GivesBack.
	Passes bool
	// OneWorker is the reason, in a few words, why the stage takes no workers: its state belongs to
	// the stage and not to a worker. If it is set, Validate refuses Workers.
	OneWorker string

	// Redelivers means that the source delivers Nacked entries again. For any other source, a nack
	// stops the graph.
	Redelivers bool
	// GivesBack means that other processes can take entries of the source at once after they are
	// given back. When the graph drains, messages that no handler has begun go back to the source
	// and are not finished first: see Settlement.Unbegun. The source also limits its read-ahead to
	// the entries that the stages behind it settle in about a second or hold, so that other
	// processes get their share. GivesBack includes Redelivers.
	GivesBack bool
	// DeadLetters means that the source's committer stores Dead entries. For any other source, a
	// Dead entry stops the graph.
	DeadLetters bool
	// Inline runs the source in the goroutine of the stages behind it, without an edge between
	// them. Before each Read, the messages buffered in these stages are passed on. A Read that
	// blocks delays their alarms. So no stage behind such a source should have alarms, such as
	// those of batches.
	Inline bool

	invalid []BuildError
}

// Invalid reports a mistake in the arguments of an operator, source or sink. Validate returns it
// together with all others. Constructors, which return no error, use it to report a nil function or
// a negative size.
func Invalid(field, issue, fix string) Traits {
	return Traits{invalid: []BuildError{{Field: field, Issue: issue, Fix: fix}}}
}

// InvalidError is Invalid for the error of a config's own validation. Joined errors are added one
// by one. An error with a method Mistake, such as *redisio.ConfigError, keeps its field and its fix.
func InvalidError(err error) (t Traits) {
	var one interface {
		Mistake() (field, problem, fix string)
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range many.Unwrap() {
			t.invalid = append(t.invalid, InvalidError(err).invalid...)
		}
	} else if errors.As(err, &one) {
		return Invalid(one.Mistake())
	} else if err != nil {
		return Invalid("", err.Error(), "")
	}
	return t
}

func (t Traits) stageOption(c *stageConfig) {
	if t.Holds > 0 {
		c.Holds, c.HoldsFor = t.Holds, t.HoldsFor
	}
	if t.OneWorker != "" {
		c.OneWorker = t.OneWorker
	}
	c.Joins = c.Joins || t.Joins
	c.Passes = c.Passes || t.Passes
	c.Redelivers = c.Redelivers || t.Redelivers || t.GivesBack
	c.GivesBack = c.GivesBack || t.GivesBack
	c.DeadLetters = c.DeadLetters || t.DeadLetters
	c.Inline = c.Inline || t.Inline
	c.issues = append(c.issues, t.invalid...)
}
