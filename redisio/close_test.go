package redisio

import (
	"bufio"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
)

// xnack gives an in-process server what no real one at hand has: XNACK, which makes entries nobody's. It returns the calls.
func xnack(t *testing.T, m *miniredis.Miniredis) *[]string {
	t.Helper()
	calls := new([]string)
	err := m.Server().Register("XNACK", func(c *server.Peer, _ string, args []string) { // key group mode IDS 1 id
		*calls = append(*calls, args[2]+" "+args[5])
		aside := server.NewPeer(bufio.NewWriter(io.Discard))
		aside.Ctx = c.Ctx
		m.Server().Dispatch(aside, []string{"XCLAIM", args[0], args[1], "", "0", args[5], "IDLE", "86400000", "JUSTID"})
		c.WriteInt(1)
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// Where the server has XNACK, what a reader gives back when it ends is nobody's, and its consumer goes with it. What was nacked
// for later has to wait for its time, and stays.
func TestCloseLetsGo(t *testing.T) {
	for name, c := range map[string]struct {
		has, later bool
		caps       *Capabilities
		nobodys    bool
	}{
		"has it":                      {has: true, nobodys: true},
		"is said to have it":          {has: true, caps: &Capabilities{XNack: true}, nobodys: true},
		"has it, and one is nacked":   {has: true, later: true, nobodys: true},
		"has it, and must not use it": {has: true, caps: &Capabilities{}},
		"lacks it":                    {},
		"is wrongly said to have it":  {caps: &Capabilities{XNack: true}},
	} {
		t.Run(name, func(t *testing.T) {
			m := miniredis.RunT(t)
			calls := new([]string)
			if c.has {
				calls = xnack(t, m)
			}
			rdb := redis.NewClient(&redis.Options{Addr: m.Addr(), Protocol: 2})
			defer rdb.Close()
			want := add(t, rdb, "k", 3)
			r, _ := open(t, rdb, GroupConfig{Key: "k", Capabilities: c.caps})
			read(t, r, 3)
			back := want
			if c.later {
				if err := r.Nack(ctx(t), want[:1], time.Minute); err != nil {
					t.Fatal(err)
				}
				back = want[1:]
			}
			if err := r.Close(ctx(t)); err != nil {
				t.Fatal(err)
			}
			for id, p := range pending(t, rdb, "k") {
				given := slices.Contains(back, id)
				if nobodys := p.Consumer == ""; nobodys != (given && c.nobodys) || given && p.Idle < 29*time.Second {
					t.Errorf("%s: %+v", id, p)
				}
			}
			slices.Sort(*calls)
			for i, call := range *calls {
				if call != "FAIL "+back[i] { // the deliveries stay as they are
					t.Errorf("XNACK %s", call)
				}
			}
			if n := len(*calls); c.nobodys && n != len(back) || !c.nobodys && n > 0 {
				t.Errorf("XNACK %v", *calls)
			}
			gone := !slices.ContainsFunc(rdb.XInfoConsumers(ctx(t), "k", "g").Val(), func(is redis.XInfoConsumer) bool { return is.Name == r.Consumer() })
			if gone != (c.nobodys && !c.later) {
				t.Errorf("the consumer is gone: %v", gone)
			}
			other, _ := open(t, rdb, GroupConfig{Key: "k", ReclaimEvery: 20 * time.Millisecond})
			if got := ids(read(t, other, len(back))); !slices.Equal(got, back) {
				t.Errorf("another got %v, want %v", got, back)
			}
		})
	}
}
