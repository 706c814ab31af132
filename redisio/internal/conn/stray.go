package conn

import (
	"context"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// stray closes connections to a master that refuses writes because of missing replicas.
//
// Idea: after a failover the old master may restart as a master, and a Sentinel that has not
// learned of the failover sends clients there. With min-replicas-to-write it refuses writes until
// the Sentinels demote it, which takes them ten seconds. The same applies to a connection that is
// no longer authenticated. go-redis would keep these connections, because the answer is an ordinary
// one to it. A new connection asks the Sentinels again. It costs little where replicas really are
// missing, because refused callers wait.
type stray struct {
	most int // most connections of the client

	mu    sync.Mutex
	conns []net.Conn // the newest ones
}

func (s *stray) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.conns) >= s.most { // the oldest is closed already: the pool keeps its bound
			s.conns = append(s.conns[:0], s.conns[1:]...)
		}
		s.conns = append(s.conns, conn)
		return conn, nil
	}
}

func (s *stray) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if name := cmd.Name(); name != "hello" && name != "auth" { // these belong to the opening of a connection
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

// Unanswered sets the error of a pipeline on its commands if none of them has one. If the server
// refuses the authentication of the connection, go-redis sets none of them, so they would seem
// successful.
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

// Look closes all connections if err requires it. The pool detects this before it hands one out.
func (s *stray) Look(err error) bool {
	if err == nil || !fault.LostConnection(err) {
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
