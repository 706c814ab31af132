package scatter

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/wait"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/gather"
)

// Out divides each value into parts, has workers work on them (see [Work]), and passes the value on
// with the results. Out calls split on several goroutines at once. After a redelivery it calls
// split again, and split should then return the same parts. A value without parts is passed on at
// once. The options apply to the stage that calls split.
//
// Out is three stages. "scatter" opens the gather and sends the parts, "wait" holds the origins, and
// "gather" reads the results.
//
// Order: of the ends of the gathers. Acks: carried by the output; an origin without success is
// rejected with an *IncompleteError, unless Config.Partial is set. Oversized parts are rejected with
// a *gather.TooLargeError, and nothing of them is sent. If the server has lost a gather or parts of it,
// the origin is delivered again. Holds: Config.Open origins; when the graph drains, they go back at
// once, and their gathers go on. Ends: when in ends and all its gathers are over.
func Out[T, P, R any](
	in flow.Source[T], rdb redis.UniversalClient, cfg Config[P, R],
	split func(context.Context, T) ([]P, error), opts ...flow.StageOption,
) flow.Source[Gathered[T, R]] {
	cfg, store, err := cfg.open(rdb)
	own := []flow.StageOption{flow.InvalidError(err), flow.Workers(stageWorkers), flow.Unordered()}
	if split == nil {
		own = append(own, flow.Invalid("split", "the function is nil", "give a function"))
	}
	s := &scatterer[T, P, R]{cfg: cfg, store: store, split: split, run: rand.Text()}
	sent := flow.Step(
		in,
		"scatter",
		func() flow.StepFunc[T, origin[T]] { return s.scatter },
		slices.Concat(own, opts)...)
	over := flow.Pair("wait", sent, notices(rdb, store), func() flow.PairHandler[origin[T], note, origin[T]] {
		return &waiting[T]{store: store, most: cfg.Open, held: make(map[string][]held[T])}
	}, flow.Traits{Holds: cfg.Open, HoldsFor: cfg.Within, NeverWaits: true})
	c := &collector[T, P, R]{cfg: cfg, store: store}
	return flow.Step(over, "gather", func() flow.StepFunc[origin[T], Gathered[T, R]] { return c.collect },
		flow.Workers(stageWorkers), flow.Unordered())
}

const stageWorkers = 8

// origin is a value after its parts were sent.
type origin[T any] struct {
	value T
	id    string    // of the gather; "" without parts
	until time.Time // the end of the gather's time, by the clock of this process
	over  bool
	lost  bool // the gather, or parts that were sent
}

// scatterer is the first stage.
type scatterer[T, P, R any] struct {
	cfg   Config[P, R]
	store *gather.Store
	split func(context.Context, T) ([]P, error)
	run   string // random, see idOf
}

func (s *scatterer[T, P, R]) scatter(
	ctx context.Context, m flow.Message[T],
) (none flow.Message[origin[T]], ok bool, err error) {
	values, err := s.split(ctx, m.Value)
	if err != nil {
		return none, false, err
	}
	o := origin[T]{value: m.Value, over: true}
	if len(values) == 0 {
		return flow.Derive(m, o), true, nil
	}
	parts, err := s.encode(values)
	if err != nil {
		return none, false, flow.Reject(err)
	}
	o.id = s.idOf(ctx, m, parts)
	st, err := s.store.Open(ctx, o.id, gather.Terms{Parts: len(parts), Need: s.cfg.Quorum, Partial: s.cfg.Partial,
		Within: s.cfg.Within, MaxBytes: s.cfg.MaxResults})
	if err != nil {
		return none, false, final(err)
	}
	o.over, o.until = st.Over, time.Now().Add(st.Left+time.Millisecond)
	if !o.over && st.Sent < len(parts) {
		if err := s.send(ctx, m, &o, st.Sent, parts); err != nil {
			return none, false, final(err)
		}
	}
	return flow.Derive(m, o), true, nil
}

// encode returns the bytes of the parts, or a *gather.TooLargeError.
func (s *scatterer[T, P, R]) encode(values []P) ([][]byte, error) {
	if len(values) > s.cfg.MaxParts {
		return nil, &gather.TooLargeError{What: "the number of parts", Size: len(values), Limit: s.cfg.MaxParts}
	}
	parts := make([][]byte, len(values))
	for i, v := range values {
		b, err := s.cfg.PartCodec.Append(nil, v)
		if err != nil {
			return nil, fmt.Errorf("scatter: encode part %d: %w", i, err)
		}
		if len(b) > s.cfg.MaxPart {
			return nil, &gather.TooLargeError{
				What:  fmt.Sprintf("part %d in bytes", i),
				Size:  len(b),
				Limit: s.cfg.MaxPart,
			}
		}
		parts[i] = b
	}
	return parts, nil
}

// A script sends at most chunkParts parts, and chunkBytes besides the first one.
const (
	chunkParts = 200
	chunkBytes = 1 << 20
)

var errDrains = errors.New("scatter: the graph drains, and there is no room for more parts")

// send sends the parts from number sent on. It waits for room.
func (s *scatterer[T, P, R]) send(
	ctx context.Context, m flow.Message[T], o *origin[T], sent int, parts [][]byte,
) (err error) {
	trace := ""
	if span := flow.BeginWrite(ctx, m, s.store.Config().Parts(), false); span != nil {
		trace, _ = span.Headers().Get(flow.HeaderTraceparent)
		defer func() {
			if err != nil {
				span.End(flow.Failed, err)
				return
			}
			span.End(flow.Acked, nil)
		}()
	} else {
		trace, _ = m.Headers().Get(flow.HeaderTraceparent)
	}
	pause := wait.Backoff(20*time.Millisecond, time.Second)
	for sent < len(parts) {
		n, size := 1, len(parts[sent])
		for sent+n < len(parts) && n < chunkParts && size+len(parts[sent+n]) <= chunkBytes {
			size += len(parts[sent+n])
			n++
		}
		now, err := s.store.Send(ctx, o.id, sent, trace, parts[sent:sent+n]...)
		switch {
		case errors.Is(err, gather.ErrOver):
			o.over = true
			return nil
		case errors.Is(err, gather.ErrFull):
			select {
			case <-flow.DrainStarted(ctx):
				return flow.RetryAfter(0, errDrains)
			default:
			}
			if err := flow.Backoff(ctx, pause.NextBackOff()); err != nil {
				return err
			}
		case err != nil:
			return err
		}
		sent = max(sent, now)
	}
	return nil
}

// idOf returns the ID of the gather of a message. The bytes of the parts are a part of it, because
// one entry may have become several messages. If the source does not deliver a message again, its ID
// may repeat in the next run, as the number of a line does. Then the ID of the gather is unique for
// this run, or for this call if the message has no ID.
func (s *scatterer[T, P, R]) idOf(ctx context.Context, m flow.Message[T], parts [][]byte) string {
	meta := m.Meta()
	name := cmp.Or(meta.ID, meta.MessageID, rand.Text())
	h := sha256.New()
	h.Write([]byte(name))
	held := flow.Hold(ctx, m)
	if !held.CanGoBack() {
		h.Write([]byte(s.run))
	}
	held.Done()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return name[:min(len(name), 64)] + "-" + hex.EncodeToString(h.Sum(nil)[:16])
}

// final marks an answer of the server that no retry changes.
func final(err error) error {
	if redisio.IsPermanent(err) {
		return flow.Permanent(err)
	}
	return err
}
