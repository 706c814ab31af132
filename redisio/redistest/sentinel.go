package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/server"
)

// MasterName is the name of the master at the Sentinels of [StartSentinel].
const MasterName = "mymaster"

// NewReplica starts a replica of master and waits until it has copied its data. Close ends it.
func NewReplica(ctx context.Context, master *Server, opts ...Option) (*Server, error) {
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		return nil, err
	}
	r, err := New(ctx, append([]Option{Args("--replicaof", host, port, "--repl-diskless-sync-delay", "0")}, opts...)...)
	if err != nil {
		return nil, err
	}
	c := redis.NewClient(r.Options())
	defer c.Close()
	err = until(ctx, "the replica has the data", func() (bool, error) {
		info, err := c.Info(ctx, "replication").Result()
		return strings.Contains(info, "master_link_status:up"), err
	})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// StartReplica starts a replica of s with its data. It ends with the test. Start s with [Args]
// "--repl-diskless-sync-delay", "0", because otherwise the first copy waits for 5 s.
func (s *Server) StartReplica(t testing.TB, opts ...Option) *Server {
	t.Helper()
	r, err := NewReplica(context.Background(), s, opts...)
	return started(t, r, err)
}

// Sentinel is a master, its replicas, and three Sentinels that monitor them. Only during
// [Sentinel.Failover] a master is considered failed after half a second: one that a busy machine stops
// for some seconds is not replaced.
type Sentinel struct {
	Nodes     []*Server // the first is the first master
	Sentinels []*Server
}

// StartSentinel starts a master, its replicas and three Sentinels. They end with the test.
func StartSentinel(t testing.TB, replicas int, opts ...Option) *Sentinel {
	t.Helper()
	s, err := NewSentinel(context.Background(), replicas, opts...)
	return started(t, s, err)
}

// NewSentinel is StartSentinel for harnesses without a testing.TB. Close ends them all.
func NewSentinel(ctx context.Context, replicas int, opts ...Option) (*Sentinel, error) {
	s := &Sentinel{}
	if err := s.start(ctx, replicas, opts); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sentinel) start(ctx context.Context, replicas int, opts []Option) error {
	master, err := New(ctx, append([]Option{Args("--repl-diskless-sync-delay", "0")}, opts...)...)
	if err != nil {
		return err
	}
	s.Nodes = append(s.Nodes, master)
	for range replicas {
		r, err := NewReplica(ctx, master, opts...)
		if err != nil {
			return err
		}
		s.Nodes = append(s.Nodes, r)
	}
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		return err
	}
	conf := fmt.Sprintf(
		"sentinel monitor %[1]s %s %s 2\nsentinel down-after-milliseconds %[1]s %[4]d\n"+
			"sentinel failover-timeout %[1]s 3000\nsentinel parallel-syncs %[1]s 5\n",
		MasterName,
		host,
		port,
		patient.Milliseconds(),
	)
	for range 3 {
		one, err := New(ctx, func(c *config) error {
			c.Kind, c.Files = server.Sentinel, map[string]string{"sentinel.conf": conf}
			return nil
		})
		if err != nil {
			return err
		}
		s.Sentinels = append(s.Sentinels, one)
	}
	for _, one := range s.Sentinels { // they can agree on nothing before they know each other and the replicas
		c := redis.NewSentinelClient(one.Options())
		err := until(ctx, "the Sentinels know everybody", func() (bool, error) {
			m, err := c.Master(ctx, MasterName).Result()
			return err == nil && m["num-slaves"] == fmt.Sprint(replicas) && m["num-other-sentinels"] == "2", err
		})
		_ = c.Close() // nothing is in flight
		if err != nil {
			return err
		}
	}
	return nil
}

// Close ends all servers.
func (s *Sentinel) Close() error { return closeAll(append(s.Sentinels, s.Nodes...)) }

// Addrs returns the addresses of the Sentinels.
func (s *Sentinel) Addrs() []string { return addrs(s.Sentinels) }

// URL returns the URL that redisio.Connect takes.
func (s *Sentinel) URL() string {
	return "redis://" + strings.Join(s.Addrs(), ",") + "?master_name=" + MasterName
}

// Options returns options for clients, to be changed by the caller.
func (s *Sentinel) Options() *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: MasterName, SentinelAddrs: s.Addrs(), DialTimeout: answerIn, ReadTimeout: answerIn,
	}
}

// Client returns a client of the current master, closed when the test ends.
func (s *Sentinel) Client(t testing.TB) *redis.Client {
	t.Helper()
	return closed(t, redis.NewFailoverClient(s.Options()))
}

// Master returns the current master, according to the first Sentinel that answers.
func (s *Sentinel) Master(ctx context.Context) (*Server, error) {
	var errs []error
	for _, one := range s.Sentinels {
		c := redis.NewSentinelClient(one.Options())
		at, err := c.GetMasterAddrByName(ctx, MasterName).Result()
		_ = c.Close() // nothing is in flight
		if err == nil && len(at) == 2 {
			for _, n := range s.Nodes {
				if n.Addr() == net.JoinHostPort(at[0], at[1]) {
					return n, nil
				}
			}
			err = fmt.Errorf("no server is the master %v", at)
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("redistest: no Sentinel knows the master: %w", errors.Join(errs...))
}

// Failover kills the master and waits until a replica has replaced it. If restarted, the old master
// becomes a replica.
func (s *Sentinel) Failover(ctx context.Context) (old, now *Server, err error) {
	if old, err = s.Master(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.downAfter(ctx, 500*time.Millisecond); err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, s.downAfter(ctx, patient)) }()
	if err := old.s.Kill(); err != nil {
		return nil, nil, err
	}
	err = until(ctx, "a replica is the master", func() (bool, error) {
		m, err := s.Master(ctx)
		if err != nil || m == old {
			return false, err
		}
		now = m
		return isMaster(ctx, m)
	})
	return old, now, err
}

// patient is after which time a server that does not answer is considered failed, except during a
// failover.
const patient = 15 * time.Second

// downAfter sets when the Sentinels consider a server failed.
func (s *Sentinel) downAfter(ctx context.Context, d time.Duration) error {
	var errs []error
	for _, one := range s.Sentinels {
		c := redis.NewSentinelClient(one.Options())
		errs = append(errs, c.Set(ctx, MasterName, "down-after-milliseconds", fmt.Sprint(d.Milliseconds())).Err())
		_ = c.Close() // nothing is in flight
	}
	return errors.Join(errs...)
}

func isMaster(ctx context.Context, s *Server) (bool, error) {
	c := redis.NewClient(s.Options())
	defer c.Close()
	info, err := c.Info(ctx, "replication").Result()
	return strings.Contains(info, "role:master"), err
}

func addrs(all []*Server) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = s.Addr()
	}
	return out
}

func closeAll(all []*Server) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() { errs[i] = s.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// until polls. It continues after errors, because servers start and stop here, and reports the last
// one.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if done && err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("redistest: timed out waiting until %s: %w", what, errors.Join(context.Cause(ctx), err))
		}
	}
}
