package redistest

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
)

// User makes a user with these ACL rules, as "~orders", "+xadd", and returns a client of it, closed when the test ends.
// Without a rule of yours a user may touch no key and run no command, not even PING.
func (s *Server) User(t testing.TB, name string, rules ...string) *redis.Client {
	t.Helper()
	o, err := s.NewUser(context.Background(), name, rules...)
	if err != nil {
		t.Fatal(err)
	}
	return closed(t, redis.NewClient(o))
}

// NewUser makes a user with these ACL rules, or changes it, and returns options for its clients.
func (s *Server) NewUser(ctx context.Context, name string, rules ...string) (*redis.Options, error) {
	admin := redis.NewClient(s.Options())
	defer admin.Close()
	if err := SetUser(ctx, admin, name, rules...); err != nil {
		return nil, err
	}
	o := s.Options()
	o.Username, o.Password = name, password
	return o, nil
}

const password = "of users of tests"

// SetUser makes a user on one server, by a client that may.
func SetUser(ctx context.Context, admin redis.UniversalClient, name string, rules ...string) error {
	args := []any{"acl", "setuser", name, "reset", "on", ">" + password}
	for _, r := range rules {
		args = append(args, r)
	}
	if err := admin.Do(ctx, args...).Err(); err != nil {
		return fmt.Errorf("redistest: user %s: %w", name, err)
	}
	return nil
}
