package bench

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// concurrent is a hand-written service with the features of a Service. Handlers run concurrently,
// so a slow one does not block the others. Each handler runs at most until the caller's deadline. A
// duplicate request is answered from memory and not handled again.
type concurrent struct {
	*byHand
	room    chan struct{} // one token for each running handler
	replies chan handReply
	at      sync.WaitGroup

	mu     sync.Mutex
	known  map[string]string // answers by request id
	oldest []string
	next   int
}

type handReply struct{ entry, to, id, v string }

const (
	handWorkers  = 64
	handRemember = 4096
)

func callByHandConcurrently(ctx context.Context, t *Trial) (call, error) {
	s := newConcurrent(t)
	return s.start(ctx, s.serve, s.reply)
}

func newConcurrent(t *Trial) *concurrent {
	s := &concurrent{
		byHand:  newByHand(t),
		room:    make(chan struct{}, handWorkers),
		replies: make(chan handReply, handBatch),
		known:   make(map[string]string),
		oldest:  make([]string, handRemember),
	}
	s.deadlines = true
	return s
}

// serve starts a handler for each request that it reads.
func (s *concurrent) serve(ctx context.Context) error {
	defer func() {
		s.at.Wait()
		close(s.replies)
	}()
	for ctx.Err() == nil {
		got, err := s.t.Redis.XReadGroup(ctx, &redis.XReadGroupArgs{Group: s.t.Group, Consumer: "c",
			Streams: []string{s.t.In, ">"}, Count: handBatch,
			Block: blockFor}).
			Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range got[0].Messages {
			s.room <- struct{}{}
			s.at.Go(func() {
				s.handle(ctx, m)
				<-s.room
			})
		}
	}
	return nil
}

func (s *concurrent) handle(ctx context.Context, m redis.XMessage) {
	id := m.Values["id"].(string)
	ms, err := strconv.ParseInt(m.Values["deadline"].(string), 10, 64)
	until := time.UnixMilli(ms)
	if err != nil || !time.Now().Before(until) {
		return
	}
	s.mu.Lock()
	v, has := s.known[id]
	s.mu.Unlock()
	if !has {
		ctx, cancel := context.WithDeadline(ctx, until)
		v, err = s.price(ctx, m.Values["data"].(string))
		cancel()
		if err != nil {
			return
		}
		s.mu.Lock()
		delete(s.known, s.oldest[s.next])
		s.known[id], s.oldest[s.next] = v, id
		s.next = (s.next + 1) % len(s.oldest)
		s.mu.Unlock()
	}
	select {
	case s.replies <- handReply{m.ID, m.Values["reply"].(string), id, v}:
	case <-ctx.Done():
	}
}

func (s *concurrent) price(_ context.Context, v string) (string, error) {
	answer, err := Price([]byte(v))
	return string(answer), err
}

// reply writes all pending answers in one pipeline and acknowledges their requests behind them.
func (s *concurrent) reply(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	for first := range s.replies {
		batch := []handReply{first}
		for more := true; more && len(batch) < handBatch; {
			select {
			case r, ok := <-s.replies:
				if more = ok; ok {
					batch = append(batch, r)
				}
			default:
				more = false
			}
		}
		pipe, ids := s.t.Redis.Pipeline(), make([]string, 0, len(batch))
		for _, r := range batch {
			pipe.XAdd(
				ctx,
				&redis.XAddArgs{Stream: r.to, MaxLen: 16_384, Approx: true, Values: []any{"id", r.id, "data", r.v}},
			)
			ids = append(ids, r.entry)
		}
		pipe.XAck(ctx, s.t.In, s.t.Group, ids...)
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
