package conn

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// maxRedirects is how often one command is redirected. While a slot moves, its old and its new
// node are asked.
const maxRedirects = 4

// redirect is the node that a reply names. While a slot moves, the new node needs ASKING first.
type redirect struct {
	Addr string
	Ask  bool
}

// redirectOf parses "MOVED 3999 host:port" and "ASK 3999 host:port". An empty host is the one of
// the node that replied.
func redirectOf(answer, from string) (to redirect, ok bool) {
	rest, moved := strings.CutPrefix(answer, "MOVED ")
	if !moved {
		if rest, to.Ask = strings.CutPrefix(answer, "ASK "); !to.Ask {
			return redirect{}, false
		}
	}
	_, to.Addr, ok = strings.Cut(rest, " ")
	if !ok {
		return redirect{}, false
	}
	// An IPv6 address has no brackets here.
	colon := strings.LastIndexByte(to.Addr, ':')
	if colon < 0 {
		return redirect{}, false
	}
	host, port := strings.Trim(to.Addr[:colon], "[]"), to.Addr[colon+1:]
	if host == "" || host == "?" {
		if host, _, _ = net.SplitHostPort(from); host == "" {
			return redirect{}, false
		}
	}
	to.Addr = net.JoinHostPort(host, port)
	return to, true
}

func redirectError(err error, from string) (redirect, bool) {
	if err == nil || !fault.IsServerSaid(err) {
		return redirect{}, false
	}
	return redirectOf(err.Error(), from)
}

// nodes are the clients of a derived cluster client, by address. The cluster client closes them.
//
// Idea: a cluster client that may follow redirects also repeats commands after a broken
// connection, which duplicates writes. So it may not. Instead a hook of each node follows: a
// redirected command was not executed, so it may be sent again. All other commands are left
// alone.
type nodes struct {
	cluster *redis.ClusterClient
	follow  bool // else the cluster client does

	mu     sync.Mutex
	byAddr map[string]*redis.Client
}

// maxNodes bounds the remembered addresses, because every new node may have a new one.
const maxNodes = 1000

// newCluster returns a cluster client of o. Its nodes follow redirects.
func newCluster(o *redis.ClusterOptions, follow bool) *redis.ClusterClient {
	ns := &nodes{follow: follow, byAddr: make(map[string]*redis.Client)}
	make := o.NewClient
	if make == nil {
		make = redis.NewClient
	}
	o.NewClient = func(opt *redis.Options) *redis.Client {
		c := make(opt)
		c.AddHook(nodeHook{ns, opt.Addr})
		ns.Add(opt.Addr, c)
		return c
	}
	ns.cluster = redis.NewClusterClient(o)
	return ns.cluster
}

func (ns *nodes) Add(addr string, c *redis.Client) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for other := range ns.byAddr {
		if len(ns.byAddr) < maxNodes {
			break
		}
		delete(ns.byAddr, other)
	}
	ns.byAddr[addr] = c
}

func (ns *nodes) at(addr string) *redis.Client {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.byAddr[addr]
}

// noted reloads the slots after an error that says that a slot moved, or that a node may be gone.
// go-redis would wait until its state is ten seconds old. It is lazy: no I/O happens here.
func (ns *nodes) noted(ctx context.Context, err error) {
	if v := fault.Judge(err); v == fault.Moved || v == fault.Broken && fault.Ended(ctx) == nil {
		ns.cluster.ReloadState(context.Background())
	}
}

// sentOn marks the context of redirected commands, because they pass the hook of another node.
type sentOn struct{}

// nodeHook follows redirects of one node.
type nodeHook struct {
	nodes *nodes
	addr  string
}

func (h nodeHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h nodeHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil || cmd.Name() == "cluster" || ctx.Value(sentOn{}) != nil {
			return err
		}
		h.nodes.noted(ctx, err)
		if _, ok := redirectError(err, h.addr); !ok || !h.nodes.follow {
			return err
		}
		h.Send(ctx, []redis.Cmder{cmd})
		return cmd.Err()
	}
}

func (h nodeHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if refused := rawErrors(cmds); err == nil {
			err = refused
		}
		if err != nil {
			Unanswered(cmds, err)
		}
		if ctx.Value(sentOn{}) != nil {
			return err
		}
		for _, cmd := range cmds {
			if e := cmd.Err(); e != nil {
				h.nodes.noted(ctx, e)
				break // one is enough
			}
		}
		if !h.nodes.follow || len(cmds) == 0 || cmds[0].Name() == "multi" { // a transaction fails as a whole
			return err
		}
		queue, ok := h.Redirected(cmds)
		if !ok {
			return err
		}
		h.Send(ctx, queue)
		for _, cmd := range cmds {
			if e := cmd.Err(); e != nil {
				return e
			}
		}
		return nil
	}
}

// rawErrors makes the error replies of raw commands their errors, as go-redis does for others, and
// returns the first.
func rawErrors(cmds []redis.Cmder) (first error) {
	for _, cmd := range cmds {
		raw, is := cmd.(*redis.RawCmd)
		if !is || raw.Err() != nil || len(raw.Val()) == 0 || raw.Val()[0] != '-' {
			continue
		}
		err := fault.ReplyError(strings.TrimSpace(string(raw.Val()[1:])))
		raw.SetErr(err)
		raw.SetVal(nil)
		if first == nil {
			first = err
		}
	}
	return first
}

// Redirected returns the commands of a pipeline to send again. WAIT and WAITAOF refer to writes
// on the same connection, so either the whole pipeline is sent again or nothing.
func (h nodeHook) Redirected(cmds []redis.Cmder) (queue []redis.Cmder, ok bool) {
	waits := 0
	for _, cmd := range cmds {
		if name := cmd.Name(); name == "wait" || name == "waitaof" {
			waits++
		} else if _, is := redirectError(cmd.Err(), h.addr); is {
			queue = append(queue, cmd)
		}
	}
	switch {
	case len(queue) == 0:
		return nil, false
	case waits == 0:
		return queue, true
	case len(queue)+waits < len(cmds):
		return nil, false
	}
	return slices.Clone(cmds), true
}

// Send sends commands to the nodes that their errors name, in order for each node, until none is
// redirected any more.
func (h nodeHook) Send(ctx context.Context, queue []redis.Cmder) {
	ctx = context.WithValue(ctx, sentOn{}, true)
	from := h.addr
	for range maxRedirects {
		to := make(map[redirect][]redis.Cmder)
		var order []redirect
		var last redirect
		for _, cmd := range queue {
			r, ok := redirectError(cmd.Err(), from)
			if !ok {
				if name := cmd.Name(); name != "wait" && name != "waitaof" || len(order) != 1 {
					continue
				}
				r = last // it waits for the commands sent there
			}
			if to[r] == nil {
				order = append(order, r)
			}
			to[r], last = append(to[r], cmd), r
		}
		queue = nil
		for _, r := range order {
			node := h.nodes.at(r.Addr)
			if node == nil {
				continue // not known yet: the error stays, and the state is being loaded
			}
			pipe := node.Pipeline()
			for _, cmd := range to[r] {
				if r.Ask {
					_ = pipe.Process(ctx, redis.NewCmd(ctx, "asking")) // only queues
				}
				cmd.SetErr(nil)
				_ = pipe.Process(ctx, cmd) // only queues
			}
			_, _ = pipe.Exec(ctx) // each command has its own error
			from = r.Addr
			if again, ok := h.Redirected(to[r]); ok {
				queue = append(queue, again...)
			}
		}
		if len(queue) == 0 {
			return
		}
	}
}
