package conn

import (
	"context"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// stray closes connections to a master that takes no writes for want of replicas.
//
// Idea: after a failover the old master may come back as one, and a Sentinel that has not heard of
// the failover sends clients there. With min-replicas-to-write it refuses what they write, and says
// nothing else until the Sentinels demote it, which takes them ten seconds. The same goes for one
// that is not authenticated any more. go-redis would keep the connections: to it the answer is one
// like any other. A new connection asks the Sentinels again, and costs little where replicas really
// are missing, as who is refused waits.
type stray struct {
	most int // connections that the client has at most

	mu    sync.Mutex
	conns []net.Conn // the newest that were made
}

func (s *stray) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.conns) >= s.most { // the oldest is closed: the pool makes no more than it may have
			s.conns = append(s.conns[:0], s.conns[1:]...)
		}
		s.conns = append(s.conns, conn)
		return conn, nil
	}
}

func (s *stray) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if name := cmd.Name(); name != "hello" && name != "auth" { // else the connection is being made
			s.Look(err)
		}
		return err
	}
}

func (s *stray) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if err != nil {
			Unanswered(cmds, err)
			for _, cmd := range cmds {
				if s.Look(cmd.Err()) {
					break
				}
			}
		}
		return err
	}
}

// Unanswered gives the error of a pipeline to its commands if none of them has one. go-redis leaves
// them without where the server refuses the log-in of the connection, so that they look as if they
// were done.
func Unanswered(cmds []redis.Cmder, err error) {
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return
		}
	}
	for _, cmd := range cmds {
		cmd.SetErr(err)
	}
}

// Look closes all connections if that is what an error calls for. The pool notices before it hands one out.
func (s *stray) Look(err error) bool {
	if err == nil || !fault.Says(err, "NOREPLICAS") && !fault.Says(err, "NOAUTH") {
		return false
	}
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // it may be closed already
	}
	return true
}
