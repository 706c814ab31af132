package faulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// replica starts a server that copies another, and waits until it has.
func (t *trial) replica(of *server) *server {
	s := t.startServer("--replicaof", "127.0.0.1 "+strconv.Itoa(of.port), "--repl-diskless-sync-delay", "0")
	t.synced(s)
	return s
}

// synced waits until a replica has its master's data.
func (t *trial) synced(s *server) {
	c := s.client()
	defer c.Close()
	t.until("the replica has its master's data", func() bool {
		info, err := c.Info(t.ctx, "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
}

// until waits for what has to come true while a trial is set up or healed.
func (t *trial) until(what string, true func() bool) {
	for deadline := time.Now().Add(30 * time.Second); !true(); {
		if time.Now().After(deadline) {
			t.must(errors.New("still not: " + what))
		}
		t.must(sleep(t.ctx, 20*time.Millisecond))
	}
}

// sentinels are three processes that watch a master and promote its replica.
type sentinels struct {
	servers []*server
	clients []*redis.SentinelClient
}

const masterName = "trial"

// sentinelsOf starts three Sentinels. They write to their configuration, so each has a file of its own.
func (t *trial) sentinelsOf(master *server) *sentinels {
	group := new(sentinels)
	for i := range 3 {
		file := filepath.Join(t.dir, fmt.Sprintf("sentinel-%d.conf", i))
		t.must(os.WriteFile(file, fmt.Appendf(nil, "sentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %s 500\n"+
			"sentinel failover-timeout %s 2000\n", masterName, master.port, masterName, masterName), 0o600))
		s, err := startSentinel(t.ctx, t.dir, file)
		t.must(err)
		t.atEnd(s.kill)
		c := redis.NewSentinelClient(&redis.Options{Addr: s.addr(), DialTimeout: time.Second, DisableIdentity: true})
		t.atEnd(func() { _ = c.Close() }) // ours, at the end
		group.servers, group.clients = append(group.servers, s), append(group.clients, c)
	}
	t.until("the Sentinels know each other and the replica", func() bool {
		for _, c := range group.clients {
			m, err := c.Master(t.ctx, masterName).Result()
			if err != nil || m["num-other-sentinels"] != "2" || m["num-slaves"] == "0" {
				return false
			}
		}
		return true
	})
	return group
}

// startSentinel is start for redis-server in its other role, which takes a file and few arguments.
func startSentinel(ctx context.Context, dir, file string) (*server, error) {
	path, err := serverPath()
	if err != nil {
		return nil, err
	}
	s := &server{path: path, dir: dir, sentinel: file}
	for range 10 {
		if s.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = s.launch(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	return s, err
}

func (g *sentinels) addrs() (addrs []string) {
	for _, s := range g.servers {
		addrs = append(addrs, s.addr())
	}
	return addrs
}

func (g *sentinels) url() string {
	return "redis://" + strings.Join(g.addrs(), ",") + "?master_name=" + masterName
}

// master is where the Sentinels say that the master is.
func (g *sentinels) master(ctx context.Context) string {
	for _, c := range g.clients {
		if at, err := c.GetMasterAddrByName(ctx, masterName).Result(); err == nil && len(at) == 2 {
			return at[0] + ":" + at[1]
		}
	}
	return ""
}

// cluster is three masters, and replicas that were added.
type cluster struct {
	t     *trial
	nodes []*server
	ids   []string
	admin []*redis.Client
	slot  int64 // of all keys of the trial
	owner int   // its node
}

func (t *trial) cluster() *cluster {
	c := &cluster{t: t}
	for range 3 {
		c.add()
	}
	t.must(c.admin[0].ClusterAddSlotsRange(t.ctx, 0, 5460).Err())
	t.must(c.admin[1].ClusterAddSlotsRange(t.ctx, 5461, 10922).Err())
	t.must(c.admin[2].ClusterAddSlotsRange(t.ctx, 10923, 16383).Err())
	c.whole()
	slot, err := c.admin[0].ClusterKeySlot(t.ctx, t.job.Input).Result()
	t.must(err)
	c.slot, c.owner = slot, int(min(slot/5461, 2))
	return c
}

// add starts a node and has it meet the first.
func (c *cluster) add() int {
	s := c.t.startServer("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0")
	admin := c.t.clientFor(s)
	id, err := admin.ClusterMyID(c.t.ctx).Result()
	c.t.must(err)
	if len(c.nodes) > 0 {
		c.t.must(admin.ClusterMeet(c.t.ctx, "127.0.0.1", strconv.Itoa(c.nodes[0].port)).Err())
	}
	c.nodes, c.ids, c.admin = append(c.nodes, s), append(c.ids, id), append(c.admin, admin)
	return len(c.nodes) - 1
}

// whole waits until all nodes know all others and all slots are served.
func (c *cluster) whole() {
	want := fmt.Sprintf("cluster_known_nodes:%d", len(c.nodes))
	c.t.until("the cluster is whole", func() bool {
		for _, a := range c.admin {
			info, err := a.ClusterInfo(c.t.ctx).Result()
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, want) {
				return false
			}
		}
		return true
	})
}

func (c *cluster) url() string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.addr())
	}
	return "redis://" + strings.Join(addrs, ",")
}

func (c *cluster) client() *redis.ClusterClient {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.addr())
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, DialTimeout: time.Second, DisableIdentity: true, ClientName: harness})
	c.t.atEnd(func() { _ = rdb.Close() }) // ours, at the end
	return rdb
}

// move moves the slot to another node, a key at a time, while everything works on it.
func (c *cluster) move(to int) {
	ctx, t, from := c.t.ctx, c.t, c.owner
	t.must(c.admin[to].Do(ctx, "cluster", "setslot", c.slot, "importing", c.ids[from]).Err())
	t.must(c.admin[from].Do(ctx, "cluster", "setslot", c.slot, "migrating", c.ids[to]).Err())
	for {
		keys, err := c.admin[from].ClusterGetKeysInSlot(ctx, int(c.slot), 1).Result()
		t.must(err)
		if len(keys) == 0 {
			break
		}
		t.must(c.admin[from].Migrate(ctx, "127.0.0.1", strconv.Itoa(c.nodes[to].port), keys[0], 0, 5*time.Second).Err())
		t.pause(30 * time.Millisecond) // the slot is on two nodes
	}
	for _, i := range []int{to, from} { // the new owner first: then nobody says that it is nobody's
		t.must(c.admin[i].Do(ctx, "cluster", "setslot", c.slot, "node", c.ids[to]).Err())
	}
	for i := range c.admin {
		_ = c.admin[i].Do(ctx, "cluster", "setslot", c.slot, "node", c.ids[to]).Err() // the others hear of it anyway
	}
	c.owner = to
}
