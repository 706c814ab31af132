package gateways_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// The key of a client's mailbox contains the user of the config, by default the login name. Names
// that could be confused with parts of other keys are left out.
func TestFault_S8_MailboxesOfUsers(t *testing.T) {
	s := rig.NewStand(t)
	s.Serve(t, gateways.ServiceConfig{}, func(svc *gateways.Service) { gateways.Handle(svc, "x", echo) })
	for _, test := range []struct{ login, user, want string }{
		{"", "", ""},
		{"", "shop", "shop:"},
		{"till.1@shop", "", "till.1@shop:"},
		{"till.1@shop", "shop", "shop:"},
		{"a:b", "", ""},
		{"", strings.Repeat("a", 100), strings.Repeat("a", 100) + ":"},
	} {
		o := redistest.Shared(t).Options()
		if test.login != "" {
			var err error
			if o, err = redistest.Shared(t).NewUser(t.Context(), test.login, "~*", "&*", "+@all"); err != nil {
				t.Fatal(err)
			}
		}
		rdb := redis.NewClient(rig.Patient(o))
		cfg := gateways.ClientConfig{User: test.user, MaxWait: -1, Timeout: redistest.Patience}
		c := gateways.NewClient(rdb, s.Topic, cfg)
		if got, err := gateways.Call[string, string](c, "x")(t.Context(), "tea"); err != nil || got != "tea" {
			t.Fatal(test, got, err)
		}
		prefix := "{" + s.Topic + "}:reply:"
		all := s.RDB.Keys(t.Context(), prefix+"*").Val()
		if len(all) != 1 || !strings.HasPrefix(all[0], prefix+test.want) || len(all[0]) != len(prefix+test.want)+16 {
			t.Errorf("%+v: %q", test, all)
		}
		if err := errors.Join(c.Close(t.Context()), rdb.Close()); err != nil {
			t.Error(err)
		}
		s.RDB.Do(t.Context(), "acl", "deluser", test.login)
	}
	for _, user := range []string{"a:b", "a*", "a b", "{a}", `a"`, "é", strings.Repeat("a", 101)} {
		err := gateways.NewClient(s.RDB, s.Topic, gateways.ClientConfig{User: user}).Validate()
		var wrong *redisio.ConfigError
		if !errors.As(err, &wrong) || wrong.Field != "User" {
			t.Errorf("user %q: %v", user, err)
		}
	}
}

// The wire of streamerson v1 supports roles as well. Its clients share one stream of replies.
func TestFault_S8_RolesOnBothWires(t *testing.T) {
	rig.OnBothWires(t, func(t *testing.T, w rig.Wired) {
		server := redistest.Shared(t)
		as := func(name string, a redisio.Access) redis.UniversalClient {
			o, err := server.NewUser(t.Context(), name, a.Rules()...)
			if err != nil {
				t.Fatal(err)
			}
			rdb := redis.NewClient(rig.Patient(o))
			t.Cleanup(func() {
				_ = rdb.Close()
				w.RDB.Do(t.Context(), "acl", "deluser", name)
			})
			return rdb
		}
		serves, asks := w.Topic+"-serves", "asks-"+strings.NewReplacer(":", "-", "/", "-").Replace(w.Topic)
		svc := gateways.NewService(as(serves, gateways.ServiceConfig{Wire: w.Wire}.Access(w.Topic)), w.Topic,
			gateways.ServiceConfig{Wire: w.Wire})
		gateways.Handle(svc, "resp", echo)
		rig.Start(t, svc.Graph())
		user := gateways.ClientConfig{Wire: w.Wire, User: asks, MaxWait: -1, Timeout: redistest.Patience}
		c := gateways.NewClient(as(asks, user.Access(w.Topic)), w.Topic, user)
		if got, err := gateways.Call[string, string](c, "resp")(t.Context(), "tea"); err != nil || got != "tea" {
			t.Error(got, err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func echo(_ context.Context, v string) (string, error) { return v, nil }
