package gateways_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/events"
	"github.com/streamerson/streamerson-go/gateways/internal/rig"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/source"
)

// Events are limited in bytes, not only in number.
func TestFault_S1_EventsHaveABudgetOfBytes(t *testing.T) {
	s := rig.NewStand(t)
	pub := events.NewPublisher(s.RDB, s.Topic, events.PublisherConfig{MaxBytes: 1 << 20})
	publish := events.Publish[string](pub, "created")
	for range 200 {
		if err := publish(t.Context(), strings.Repeat("x", 20_000)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.RDB.MemoryUsage(t.Context(), events.Key(s.Topic)).Val(); n == 0 || n > 2<<20 {
		t.Errorf("the events take %d bytes, the budget is 1 MiB", n)
	}
	if err := pub.Close(context.Background()); err != nil {
		t.Error(err)
	}
	var wrong *redisio.ConfigError
	if err := events.NewPublisher(s.RDB, s.Topic, events.PublisherConfig{MaxBytes: 1000}).Validate(); !errors.As(
		err,
		&wrong,
	) {
		t.Errorf("a budget of 1000 bytes: %v", err)
	}
}

// The mailbox of a client that hangs is bounded in bytes, so it does not fill Redis although it is
// not read. The service counts dropped replies.
func TestFault_S1_MailboxesAreBoundedByBytes(t *testing.T) {
	const (
		budget = 256 << 10
		size   = 20_000
		asked  = 60
	)
	text := strings.Repeat("x", size)
	setUp := func(t *testing.T) (s *rig.Stand, mailbox string) {
		s = rig.NewStand(t)
		mailbox = "{" + s.Topic + "}:reply:hangs"
		s.RDB.XAdd(t.Context(), redistest.Entry(mailbox, "data", "", "type", "hello"))
		return s, mailbox
	}
	ask := func(s *rig.Stand, mailbox, typ string, n int, more ...string) {
		for i := range n {
			s.RDB.XAdd(t.Context(), redistest.Entry(s.Topic,
				append(more, "data", "1", "type", typ, "id", fmt.Sprint(typ, i), "reply", mailbox)...))
		}
	}
	// Each reply is larger than a sixteenth of the budget, so the mailbox is measured each time.
	bounded := func(t *testing.T, s *rig.Stand, mailbox string) {
		t.Helper()
		if n := s.RDB.MemoryUsage(t.Context(), mailbox, 0).Val(); n < budget/4 || n > budget {
			t.Errorf("the mailbox takes %d bytes, the budget is %d", n, budget)
		}
	}
	handled := func(n *rig.Stand) func() bool { // all requests are settled, and so deleted
		return func() bool { return n.RDB.XLen(t.Context(), n.Topic).Val() == 0 }
	}

	t.Run("a service", func(t *testing.T) {
		s, mailbox := setUp(t)
		var log rig.LockedBuffer
		cfg := gateways.ServiceConfig{MailboxBytes: budget, Log: slog.New(slog.NewTextHandler(&log, nil))}
		svc := s.Serve(t, cfg, func(svc *gateways.Service) {
			gateways.Handle(svc, "one", func(context.Context, int) (string, error) { return text, nil })
			gateways.HandleStream(svc, "parts", func(_ context.Context, _ int, send func(string) error) error {
				for range asked {
					if err := send(text); err != nil {
						return err
					}
				}
				return nil
			})
		})
		ask(s, mailbox, "one", asked)
		redistest.Soon(t, "all are answered", handled(s))
		bounded(t, s, mailbox)
		left := s.RDB.XLen(t.Context(), mailbox).Val()
		if got := svc.Stats().Dropped; int64(got)+left != asked+1 {
			t.Errorf("%d dropped, %d left, of %d", got, left, asked+1)
		}
		if !strings.Contains(log.String(), "dropped unread") || !strings.Contains(log.String(), mailbox) {
			t.Errorf("no warning:\n%s", log.String())
		}
		before := svc.Stats().Dropped
		ask(s, mailbox, "parts", 1, "h::window", fmt.Sprint(2*asked))
		redistest.Soon(t, "all parts are sent", handled(s))
		bounded(t, s, mailbox)
		if got := svc.Stats().Dropped; got < before+asked/2 {
			t.Errorf("%d parts dropped", got-before)
		}
		if n := strings.Count(log.String(), "dropped unread"); n > 100 {
			t.Errorf("%d lines of the log", n)
		}
		// Clients that read still receive their answers.
		if got, err := gateways.Call[int, string](s.Client(t, gateways.ClientConfig{}), "one")(t.Context(),
			1); err != nil ||
			len(got) != size {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("a graph", func(t *testing.T) {
		s, mailbox := setUp(t)
		in := flow.Step(gateways.Requests(s.RDB, s.Topic, source.StreamConfig[int]{}), "text",
			func() flow.StepFunc[int, string] {
				return func(_ context.Context, m flow.Message[int]) (flow.Message[string], bool, error) {
					return flow.Derive(m, text), true, nil
				}
			})
		rig.Start(t, flow.New("texts", gateways.Reply(in, s.RDB, s.Topic, gateways.ReplyConfig{MailboxBytes: budget})))
		ask(s, mailbox, "one", asked)
		redistest.Soon(t, "all are answered", handled(s))
		bounded(t, s, mailbox)
	})
	t.Run("without a limit", func(t *testing.T) {
		s, mailbox := setUp(t)
		svc := s.Serve(t, gateways.ServiceConfig{MailboxBytes: -1}, func(svc *gateways.Service) {
			gateways.Handle(svc, "one", func(context.Context, int) (string, error) { return text, nil })
		})
		ask(s, mailbox, "one", asked)
		redistest.Soon(t, "all are answered", handled(s))
		if n := s.RDB.XLen(t.Context(), mailbox).Val(); n != asked+1 || svc.Stats().Dropped != 0 {
			t.Errorf("%d replies, %+v", n, svc.Stats())
		}
	})
	s := rig.NewStand(t)
	err := gateways.NewService(s.RDB, s.Topic, gateways.ServiceConfig{MailboxBytes: 1000}).Validate()
	if err == nil || !strings.Contains(err.Error(), "MailboxBytes: is 1000") ||
		strings.Contains(err.Error(), `"replies"`) {
		t.Errorf("a service: %v", err)
	}
	none := gateways.ServiceConfig{MailboxBytes: -1}.Access("x").String()
	if all := (gateways.ServiceConfig{}).Access("x").String(); !strings.Contains(all, "+exists +memory|usage +xadd") ||
		strings.Contains(none, "+exists +memory|usage") {
		t.Errorf("rights %s\nwithout a limit %s", all, none)
	}
}
