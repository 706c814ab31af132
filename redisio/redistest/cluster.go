package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/server"
)

// slots is the number of slots of a cluster.
const slots = 16384

// Cluster is a Redis Cluster: three masters with a third of the slots each, and replicas. Only during
// [Cluster.Failover] a node is considered failed after a second: one that a busy machine stops for
// some seconds is not replaced, and the others go on.
type Cluster struct {
	Nodes []*Server // the first three are the first masters; replica i follows master i mod 3
	ids   map[*Server]string
}

// StartCluster starts three masters and, for each, some replicas. They end with the test.
func StartCluster(t testing.TB, replicas int, opts ...Option) *Cluster {
	t.Helper()
	c, err := NewCluster(context.Background(), replicas, opts...)
	return started(t, c, err)
}

// NewCluster is StartCluster for harnesses without a testing.TB. Close ends all nodes.
func NewCluster(ctx context.Context, replicas int, opts ...Option) (*Cluster, error) {
	c := &Cluster{ids: make(map[*Server]string)}
	if err := c.start(ctx, replicas, opts); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, replicas int, opts []Option) error {
	opts = append([]Option{func(c *config) error { c.Kind = server.Cluster; return nil },
		Args(
			"--cluster-node-timeout",
			"1000",
			"--repl-diskless-sync-delay",
			"0",
			"--cluster-replica-validity-factor",
			"0",
		)}, opts...)
	for range 3 * (1 + replicas) {
		s, err := New(ctx, opts...)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, s)
	}
	for i, s := range c.Nodes {
		id, err := c.do(ctx, s, "cluster", "myid")
		if err != nil {
			return err
		}
		c.ids[s] = id.(string)
		if i < 3 {
			if _, err := c.do(ctx, s, "cluster", "set-config-epoch", i+1); err != nil {
				return err
			}
			if _, err := c.do(ctx, s, "cluster", "addslotsrange", i*slots/3, (i+1)*slots/3-1); err != nil {
				return err
			}
		}
		if i > 0 {
			if err := c.meet(ctx, s); err != nil {
				return err
			}
		}
	}
	if err := c.agreed(ctx, len(c.Nodes)); err != nil {
		return err
	}
	for i, s := range c.Nodes[3:] {
		if _, err := c.do(ctx, s, "cluster", "replicate", c.ids[c.Nodes[i%3]]); err != nil {
			return err
		}
	}
	for _, s := range c.Nodes[3:] {
		err := until(ctx, "a replica has its master's data", func() (bool, error) {
			info, err := c.do(ctx, s, "info", "replication")
			return err == nil && strings.Contains(info.(string), "master_link_status:up"), err
		})
		if err != nil {
			return err
		}
	}
	if err := c.replicated(ctx, replicas); err != nil {
		return err
	}
	c.nodeTimeout(ctx, patient) // not from the start, because nodes meet faster with a short one
	return nil
}

// nodeTimeout sets when nodes consider another one failed.
func (c *Cluster) nodeTimeout(ctx context.Context, d time.Duration) {
	for _, s := range c.Nodes { // those that are down do not answer
		_, _ = c.do(ctx, s, "config", "set", "cluster-node-timeout", d.Milliseconds())
	}
}

// meet introduces a node to the first one.
func (c *Cluster) meet(ctx context.Context, s *Server) error {
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		return err
	}
	_, err = c.do(ctx, c.Nodes[0], "cluster", "meet", host, port, s.s.Bus())
	return err
}

// meetAgain introduces nodes again that the first one has forgotten: it does so if they do not answer
// within a second.
func (c *Cluster) meetAgain(ctx context.Context) error {
	known, err := c.do(ctx, c.Nodes[0], "cluster", "nodes")
	for _, s := range c.Nodes[1:] {
		if err == nil && !strings.Contains(known.(string), " "+s.Addr()+"@") {
			err = c.meet(ctx, s)
		}
	}
	return err
}

// agreed waits until all nodes know each other and have all slots.
func (c *Cluster) agreed(ctx context.Context, nodes int) error {
	for _, s := range c.Nodes {
		err := until(ctx, "the nodes know each other", func() (bool, error) {
			if err := c.meetAgain(ctx); err != nil {
				return false, err
			}
			info, err := c.do(ctx, s, "cluster", "info")
			return err == nil && strings.Contains(info.(string), "cluster_state:ok") &&
				strings.Contains(info.(string), fmt.Sprintf("cluster_known_nodes:%d\r", nodes)), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replicated waits until all nodes know the replicas of each master. A master that dies earlier is
// not replaced.
func (c *Cluster) replicated(ctx context.Context, replicas int) error {
	for _, s := range c.Nodes {
		err := until(ctx, "the nodes know the replicas", func() (bool, error) {
			text, err := c.do(ctx, s, "cluster", "nodes")
			return err == nil && strings.Count(text.(string), "slave") == 3*replicas, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// do runs a command on one node.
func (c *Cluster) do(ctx context.Context, s *Server, args ...any) (any, error) {
	rdb := redis.NewClient(
		&redis.Options{Addr: s.Addr(), Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
			ReadTimeout: answerIn},
	)
	defer rdb.Close()
	v, err := rdb.Do(ctx, args...).Result()
	if err != nil {
		return nil, fmt.Errorf("redistest: %s of %s: %w", fmt.Sprint(args...), s.Addr(), err)
	}
	return v, nil
}

// Close ends all nodes.
func (c *Cluster) Close() error { return closeAll(c.Nodes) }

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string { return addrs(c.Nodes) }

// URL returns the URL that redisio.Connect takes.
func (c *Cluster) URL() string { return "redis://" + strings.Join(c.Addrs(), ",") }

// Options returns options for clients, to be changed by the caller.
func (c *Cluster) Options() *redis.ClusterOptions {
	return &redis.ClusterOptions{Addrs: c.Addrs(), DialTimeout: answerIn, ReadTimeout: answerIn}
}

// Client returns a client that is closed when the test ends.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	t.Helper()
	return closed(t, redis.NewClusterClient(c.Options()))
}

// Slot returns the slot of a key.
func (c *Cluster) Slot(ctx context.Context, key string) (int, error) {
	v, err := c.do(ctx, c.Nodes[0], "cluster", "keyslot", key)
	if err != nil {
		return 0, err
	}
	return int(v.(int64)), nil
}

// Owner returns the master of a slot, according to the running nodes.
func (c *Cluster) Owner(ctx context.Context, slot int) (*Server, error) {
	all, err := c.owners(ctx, slot)
	if len(all) == 0 {
		return nil, fmt.Errorf("redistest: no node has slot %d: %w", slot, err)
	}
	return all[0], nil
}

// owners returns the masters that claim a slot: several for a moment while nodes disagree.
func (c *Cluster) owners(ctx context.Context, slot int) (all []*Server, _ error) {
	var errs []error
	for _, s := range c.Nodes {
		text, err := c.do(ctx, s, "cluster", "nodes")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for l := range strings.Lines(text.(string)) {
			f := strings.Fields(l)
			if len(f) < 9 || !strings.Contains(f[2], "myself") || !strings.Contains(f[2], "master") {
				continue
			}
			for _, r := range f[8:] {
				from, to, isRange := strings.Cut(r, "-")
				low, err := strconv.Atoi(from)
				if err != nil {
					continue // the slot is being moved
				}
				high := low
				if isRange {
					if high, err = strconv.Atoi(to); err != nil {
						continue
					}
				}
				if low <= slot && slot <= high {
					all = append(all, s)
				}
			}
		}
	}
	return all, errors.Join(errs...)
}

// MoveSlot moves a slot and its keys to another node, like redis-cli --cluster reshard. If between
// is not nil, it is called when half of the keys, rounded up, have moved: then both nodes have keys,
// and clients receive ASK redirections.
func (c *Cluster) MoveSlot(ctx context.Context, slot int, to *Server, between func()) error {
	from, err := c.Owner(ctx, slot)
	if err != nil || from == to {
		return err
	}
	if _, err := c.do(ctx, to, "cluster", "setslot", slot, "importing", c.ids[from]); err != nil {
		return err
	}
	if _, err := c.do(ctx, from, "cluster", "setslot", slot, "migrating", c.ids[to]); err != nil {
		return err
	}
	n, err := c.do(ctx, from, "cluster", "countkeysinslot", slot)
	if err != nil {
		return err
	}
	half := (n.(int64) + 1) / 2
	if half > 0 {
		if err := c.moveKeys(ctx, slot, from, to, half); err != nil {
			return err
		}
	}
	if between != nil {
		between()
	}
	for { // new keys may arrive until the slot has moved
		n, err := c.do(ctx, from, "cluster", "countkeysinslot", slot)
		if err != nil {
			return err
		}
		if n.(int64) == 0 {
			break
		}
		if err := c.moveKeys(ctx, slot, from, to, 100); err != nil {
			return err
		}
	}
	// The new owner first: otherwise the slot briefly has no owner.
	for _, s := range append([]*Server{to, from}, c.Nodes...) {
		if ok, err := isMaster(ctx, s); err != nil || !ok {
			continue // failed nodes and replicas learn it from the others
		}
		if _, err := c.do(ctx, s, "cluster", "setslot", slot, "node", c.ids[to]); err != nil {
			return err
		}
	}
	// An older message between nodes may still undo it for a moment.
	return until(ctx, "one node has the slot", func() (bool, error) {
		all, _ := c.owners(ctx, slot) // nodes that are down do not answer
		return len(all) == 1 && all[0] == to, nil
	})
}

func (c *Cluster) moveKeys(ctx context.Context, slot int, from, to *Server, n int64) error {
	keys, err := c.do(ctx, from, "cluster", "getkeysinslot", slot, n)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(to.Addr())
	if err != nil {
		return err
	}
	args := []any{"migrate", host, port, "", 0, 10_000, "keys"}
	_, err = c.do(ctx, from, append(args, keys.([]any)...)...)
	return err
}

// Failover kills the master of a slot and waits until a replica has replaced it.
func (c *Cluster) Failover(ctx context.Context, slot int) (old, now *Server, err error) {
	if old, err = c.Owner(ctx, slot); err != nil {
		return nil, nil, err
	}
	c.nodeTimeout(ctx, time.Second)
	defer c.nodeTimeout(ctx, patient)
	if err := old.s.Kill(); err != nil {
		return nil, nil, err
	}
	err = until(ctx, "a replica has the slot", func() (bool, error) {
		if now, err = c.Owner(ctx, slot); err != nil {
			return false, err
		}
		info, err := c.do(ctx, now, "cluster", "info")
		return err == nil && strings.Contains(info.(string), "cluster_state:ok"), err
	})
	return old, now, err
}
