package examples

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Rows that the database refuses become dead letters, and the rest of their batches is stored.
func TestFault_O6_Billing(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{"redis-server": withPath(), "in-process": {"PATH=/nowhere"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := run(t, env, nil, "billing", "-addr", "localhost:0", "-orders", "120")
			want(t, out, "flowchart", "stored    118 invoices in ",
				`refused   {"number":41,"customer":6,"cents":0}: rejected: check amount_positive failed: 0 cents`,
				`refused   {"number":61,"customer":5,"cents":-5}: rejected: check amount_positive failed: -5 cents`)
			if n := strings.Count(out, "refused"); n != 2 {
				t.Errorf("%d orders were refused", n)
			}
		})
	}
}

// Two processes share the orders, and end cleanly on Ctrl-C with nothing left pending.
func TestFault_O6_BillingShared(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := redistest.Start(t)
	rdb, env := server.Client(t), []string{"REDIS_URL=" + server.URL()}
	second := start(t, env, nil, "billing", "-addr", "localhost:0", "-orders", "0")
	redistest.Soon(t, "it serves", func() bool { return strings.Contains(second.stderr.text(), "serving http://") })
	first := start(t, env, nil, "billing", "-addr", "localhost:0", "-orders", "5000")
	redistest.Soon(t, "all is billed", func() bool {
		groups, err := rdb.XInfoGroups(ctx, "orders").Result()
		return err == nil && len(groups) == 1 && groups[0].EntriesRead == 5000 && groups[0].Pending == 0
	})
	for _, p := range []*process{first, second} {
		p.signal(t, syscall.SIGINT)
		if code := p.wait(t); code != 0 {
			t.Errorf("exit status %d", code)
		}
		want(t, p.stdout.text(), "stored    ")
	}
	if n := rdb.XLen(ctx, "orders:dead").Val(); n != 2 {
		t.Errorf("%d dead letters", n)
	}
}
