package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// node is a server that has keys.
type node struct {
	addr   string
	rdb    redis.UniversalClient
	info   map[string]string // of INFO; empty if it may not be used
	config map[string]string // of CONFIG GET, likewise
}

// identify finds the nodes and asks what they are.
func (e *examination) identify(ctx context.Context) error {
	id := &e.report.Server
	switch c := e.rdb.(type) {
	case *redis.ClusterClient:
		id.Mode = "cluster"
		var mu sync.Mutex
		err := c.ForEachMaster(ctx, func(_ context.Context, m *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			e.nodes = append(e.nodes, &node{addr: m.Options().Addr, rdb: m})
			return nil
		})
		if err != nil {
			return err
		}
		slices.SortFunc(e.nodes, func(a, b *node) int { return cmp.Compare(a.addr, b.addr) })
	case *redis.Client:
		id.Mode = "standalone"
		if c.Options().Addr == "FailoverClient" { // of redis.NewFailoverClient
			id.Mode = "sentinel"
		}
		e.nodes = []*node{{addr: c.Options().Addr, rdb: c}}
	default:
		e.nodes = []*node{{rdb: e.rdb}}
	}
	id.Nodes = len(e.nodes)
	for _, n := range e.nodes {
		text, err := n.rdb.Info(ctx).Result()
		if err := lost(err); err != nil {
			return err
		}
		n.info = parseInfo(text)
	}
	hello, err := e.hello(ctx)
	if err != nil {
		return err
	}
	id.name(hello, e.nodes[0].info)
	e.add(Finding{Check: "server", Text: id.String()})
	if len(e.nodes[0].info) == 0 {
		e.add(Finding{Check: "server/info", Severity: Note, Text: "the user may not use INFO: memory, persistence " +
			"and replication are unknown", Fix: "grant +info, or run the doctor as another user"})
	}
	return nil
}

// hello returns what the server says without any right.
func (e *examination) hello(ctx context.Context) (map[string]string, error) {
	first := e.nodes[0].rdb // a master: the client may ask a replica
	reply, err := first.Do(ctx, "hello").Result()
	if c, ok := first.(*redis.Client); ok && fault.IsServerSaid(err) { // some servers want the protocol too
		reply, err = first.Do(ctx, "hello", c.Options().Protocol).Result()
	}
	if err := lost(err); err != nil {
		return nil, err
	}
	said := make(map[string]string)
	switch r := reply.(type) {
	case map[any]any: // RESP3
		for k, v := range r {
			said[fmt.Sprint(k)] = fmt.Sprint(v)
		}
	case []any: // RESP2
		for i := 0; i+1 < len(r); i += 2 {
			said[fmt.Sprint(r[i])] = fmt.Sprint(r[i+1])
		}
	}
	return said, nil
}

// name sets product, version and role. Forks report a redis_version for old clients, next to their
// own.
func (i *Identity) name(hello, info map[string]string) {
	i.Product, i.Version = hello["server"], hello["version"]
	if v := info["redis_version"]; v != "" && (i.Product == "" || i.Product == "redis") {
		i.Product, i.Version = "redis", v
	}
	for _, fork := range []string{"valkey", "dragonfly", "kvrocks", "garnet"} {
		if v := info[fork+"_version"]; v != "" {
			i.Product, i.Version = fork, strings.TrimPrefix(v, "df-v")
		}
	}
	i.Role = cmp.Or(info["role"], hello["role"])
	if i.Role == "slave" {
		i.Role = "replica"
	}
}

// parseInfo returns the fields of INFO.
func parseInfo(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// addresses finds out whether the address reaches one server with all keys.
func (e *examination) addresses(ctx context.Context) error {
	if c, ok := e.rdb.(*redis.ClusterClient); ok {
		info, err := c.ClusterInfo(ctx).Result()
		if state := parseInfo(info)["cluster_state"]; state != "" && state != "ok" {
			e.add(Finding{Check: "cluster/state", Severity: Problem, Text: "the cluster is down: its state is " + state,
				Fix: "see CLUSTER NODES, and restart or replace the nodes that failed"})
			e.spare("the cluster is down")
		}
		return lost(err)
	}
	if err := e.oneSlot(ctx); err != nil {
		return err
	}
	if c, ok := e.rdb.(*redis.Client); ok {
		return e.oneServer(ctx, c)
	}
	return nil
}

// oneSlot finds out whether the single address belongs to a cluster.
func (e *examination) oneSlot(ctx context.Context) error {
	moved := false
	for range 8 { // slots are random: some are elsewhere
		err := e.rdb.XLen(ctx, e.key()).Err()
		if err := lost(err); err != nil {
			return err
		}
		moved = moved || fault.Judge(err) == fault.Moved
	}
	switch {
	case moved:
		e.add(Finding{Check: "cluster/address", Severity: Problem,
			Text: "this is one node of a cluster, used as a single server: keys on other nodes fail with MOVED",
			Fix:  "name several nodes, redis://a:7000,b:7000, or add ?addr=b:7000 to the URL"})
		e.spare("it is one node of a cluster")
	case e.nodes[0].info["cluster_enabled"] == "1":
		e.add(Finding{Check: "cluster/address", Severity: Note,
			Text: "a cluster behind one address, which reaches all keys; keys that are used together must share a slot",
			Fix:  "give related keys one hash tag, as {orders} and {orders}:dead"})
	}
	return nil
}

// oneServer finds out whether several servers, or a proxy, answer at one address.
func (e *examination) oneServer(ctx context.Context, c *redis.Client) error {
	const many = 4
	runs, seen, proxy := make(map[string]bool), make(map[string]bool), false
	var conns []*redis.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close() // returns it to the pool
		}
	}()
	for range min(many, c.Options().PoolSize) {
		conn := c.Conn()
		conns = append(conns, conn)
		first, err := conn.ClientID(ctx).Result()
		if err := lost(err); err != nil {
			return err
		}
		if second, again := conn.ClientID(ctx).Result(); err == nil && again == nil && first != second {
			proxy = true
		}
		text, err := conn.Info(ctx, "server").Result()
		if err := lost(err); err != nil {
			return err
		}
		if run := parseInfo(text)["run_id"]; run != "" {
			runs[run] = true
			here := fmt.Sprint(run, "/", first)
			proxy = proxy || first != 0 && seen[here] // two connections of ours are one there
			seen[here] = true
		}
	}
	if len(runs) > 1 {
		e.add(Finding{Check: "server/several", Severity: Problem,
			Text:   fmt.Sprintf("%d different servers answer at this address: an entry is on one of them", len(runs)),
			Fix:    "use the address of the master, Sentinel (?master_name=), or the nodes of the cluster",
			Detail: strings.Join(slices.Sorted(maps.Keys(runs)), ", ")})
		e.spare("several servers answer at this address")
	}
	if proxy {
		e.report.Server.Proxy = true
		e.add(Finding{Check: "server/proxy", Severity: Warning,
			Text: "a proxy shares its connections: blocking reads, MULTI and WATCH may fail or hold up others",
			Fix:  "connect to Redis directly"})
	}
	return nil
}
