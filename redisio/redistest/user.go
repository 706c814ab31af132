package redistest

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
)

// User creates a user with ACL rules such as "~orders", "+xadd", and returns its client, which is
// closed when the test ends. Without rules a user may access no key and run no command, not even
// PING.
func (s *Server) User(t testing.TB, name string, rules ...string) *redis.Client {
	t.Helper()
	o, err := s.NewUser(context.Background(), name, rules...)
	if err != nil {
		t.Fatal(err)
	}
	return closed(t, redis.NewClient(o))
}

// NewUser creates or changes a user with these ACL rules, and returns options for its clients.
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

// SetUser creates a user on one server. admin needs permission for ACL SETUSER.
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
