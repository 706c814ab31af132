package check

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// ReadError returns the error of a read of key.
func ReadError(key string, err error) error { return KeyError("read", key, err) }

// KeyError returns the error of one operation on one key, or nil.
func KeyError(op, key string, err error) error {
	if err == nil {
		return nil
	}
	if fault.Judge(err) == fault.Permanent {
		return &redisio.PermanentError{Op: op, Key: key, Err: err}
	}
	return fmt.Errorf("redisio: %s %q: %w", op, fault.KeyName(key), err)
}

// NeedKey returns an error if key is empty.
func NeedKey(what, key string) error {
	if key == "" {
		return &redisio.ConfigError{Type: what, Field: "key", Problem: "is empty", Fix: "name the stream"}
	}
	return nil
}

// NeedClient returns an error if rdb is nil.
func NeedClient(rdb redis.UniversalClient, what string) error {
	m := redisio.MistakesOf(what)
	m.Client(rdb)
	return m.Err()
}

// Entry returns an error if an entry for key has no fields, or more bytes than most.
func Entry(key string, fields redisio.Fields, most int) error {
	if len(fields) == 0 {
		return &fault.OutcomeError{
			Outcome: redisio.ErrNotWritten,
			Cause:   fmt.Errorf("an entry for %q without fields: Redis takes none", fault.KeyName(key)),
		}
	}
	if size := fields.Size(); size > most {
		return &redisio.TooLargeError{Key: key, Size: size, Limit: most}
	}
	return nil
}
