package redisio

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Mistakes collects the mistakes of one configuration, so that its Validate returns all at once.
type Mistakes struct {
	of   string // the configuration type
	errs []error
}

// MistakesOf returns an empty list for a configuration type, for example "GroupConfig".
func MistakesOf(configType string) *Mistakes { return &Mistakes{of: configType} }

// Add adds a mistake as a *ConfigError.
func (m *Mistakes) Add(field, problem, fix string) { m.If(true, field, problem, fix) }

// If adds a mistake if wrong is true.
func (m *Mistakes) If(wrong bool, field, problem, fix string) {
	if wrong {
		m.errs = append(m.errs, &ConfigError{Type: m.of, Field: field, Problem: problem, Fix: fix})
	}
}

// Is adds the mistake "is <value>" if wrong is true.
func (m *Mistakes) Is(wrong bool, field string, value any, fix string) {
	if wrong {
		m.Add(field, fmt.Sprintf("is %v", value), fix)
	}
}

// Negative adds a mistake if value, such as int64(c.Wait), is negative.
func (m *Mistakes) Negative(field string, value int64, fix string) {
	m.If(value < 0, field, "is negative", fix)
}

// Empty adds a mistake if value is empty.
func (m *Mistakes) Empty(field, value, fix string) { m.If(value == "", field, "is empty", fix) }

// Client adds a mistake if rdb is nil or holds a nil pointer.
func (m *Mistakes) Client(rdb redis.UniversalClient) {
	m.If(IsNilClient(rdb), "rdb", "the Redis client is nil", "pass a client, see redisio.Connect")
}

// Join adds the mistakes of a part of the configuration; nil adds nothing.
func (m *Mistakes) Join(err error) {
	if err != nil {
		m.errs = append(m.errs, err)
	}
}

// Err returns all mistakes joined, or nil.
func (m *Mistakes) Err() error { return errors.Join(m.errs...) }
