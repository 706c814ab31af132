package writer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
)

// Send writes one pipeline.
func (w *Writer) Send(ctx context.Context, entries []redisio.Outgoing, results []redisio.Result) {
	if err := fault.Ended(ctx); err != nil {
		fail(results, redisio.ErrNotWritten, err)
		return
	}
	if groups := w.bySlot(entries); groups != nil {
		w.sendBySlot(ctx, groups, entries, results)
		return
	}
	if w.plain && w.cfg.MaxBytes > 0 {
		defer w.bound(ctx, entries, results)
	}
	c := w.chunks.Get().(*chunk)
	defer func() {
		c.clear()
		w.chunks.Put(c)
	}()
	if !w.plain {
		w.sendMore(ctx, c, entries, results)
		return
	}
	if w.lines != nil {
		w.sendPlain(ctx, c, entries, results)
		return
	}
	w.fill(c, entries, results)
	if len(c.queue) == 0 {
		return
	}
	pipe := w.out.Pipeline()
	together := w.together(len(c.queue), entries)
	if together {
		pipe = w.out.TxPipeline()
	}
	_ = pipe.BatchProcess(ctx, c.queue...) // only queues
	_, execErr := pipe.Exec(ctx)
	if together && fault.NoRight(execErr) && strings.Contains(strings.ToLower(execErr.Error()), "'multi'") {
		// The right was taken away. go-redis has sent the rest all the same, without a transaction,
		// and told nothing of it.
		w.apart.Store(true)
		for _, at := range c.index {
			results[at] = redisio.Result{Err: &fault.OutcomeError{Outcome: redisio.ErrUnknownOutcome, Cause: execErr}}
		}
		return
	}
	if execErr != nil {
		w.failures(c, results, execErr)
		return
	}
	for i, cmd := range c.sent {
		results[c.index[i]] = redisio.Result{ID: cmd.Val()}
	}
}

// failures looks at each command on its own.
func (w *Writer) failures(c *chunk, results []redisio.Result, execErr error) {
	reload := false
	for i, cmd := range c.sent {
		id, err := cmd.Result()
		at := c.index[i]
		// A broken connection stamps its error on commands that were answered before it broke.
		if id != "" || err == nil {
			results[at] = redisio.Result{ID: id}
			continue
		}
		err = fault.Discarded(c.queue, err)
		reload = reload || fault.Judge(err) == fault.Moved
		results[at] = redisio.Result{Err: writeError(err, execErr)}
	}
	if reload {
		w.out.Redirected()
	}
}

// writeError says what is known about a write that failed with err, in a pipeline that failed with execErr.
func writeError(err, execErr error) error {
	if err == redis.Nil {
		return &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: redisio.ErrNoStream}
	}
	if fault.IsServerSaid(err) || fault.NeverSent(err) || fault.NeverSent(execErr) {
		return &fault.OutcomeError{
			Outcome: redisio.ErrNotWritten,
			Cause:   err,
		} // the server said no, or never heard of it
	}
	return &fault.OutcomeError{Outcome: redisio.ErrUnknownOutcome, Cause: err}
}

// chunk is the scratch of one pipeline: commands are used again, for go-redis offers no other way to
// make one without allocating, and each keeps its argument slice.
type chunk struct {
	cmds  []*redis.StringCmd // all ever made
	queue []redis.Cmder      // those of this pipeline
	sent  []*redis.StringCmd // the same
	index []int              // which entry each carries
	parts []part             // what goes to each key, unless the writer is plain
	spent bool               // the commands can't be used again
	out   []byte             // a plain pipeline
}

// fieldValue is a field as the argument that carries its value: a pointer in an interface does not
// allocate, a []byte would.
type fieldValue redisio.Field

// MarshalBinary returns the value as it is.
func (f *fieldValue) MarshalBinary() ([]byte, error) { return f.Value, nil }

func (w *Writer) fill(c *chunk, entries []redisio.Outgoing, results []redisio.Result) {
	for i := range entries {
		e := &entries[i]
		if err := w.check(e); err != nil {
			results[i] = redisio.Result{Err: err}
			continue
		}
		w.xadd(c, e, i, "")
	}
}

// xadd queues an XADD; producer is that of IDMP, or "".
func (w *Writer) xadd(c *chunk, e *redisio.Outgoing, index int, producer string) {
	n := 3 + 2*len(e.Fields)
	if producer != "" {
		n += 3
	}
	if w.cfg.OnlyExisting {
		n++
		if w.cfg.MaxLen > 0 {
			n += 3
		}
	}
	cmd := c.command(n)
	args := cmd.Args()
	args[0], args[1] = "xadd", w.key
	if e.Key != "" {
		args[1] = e.Key
		c.spent = w.out.Cluster != nil // the command remembers the slot of its first key
	}
	at := 2
	if producer != "" {
		args[2], args[3], args[4] = "idmp", producer, e.DedupeID
		at = 5
	}
	if w.cfg.OnlyExisting {
		args[at] = "nomkstream"
		at++
		if w.cfg.MaxLen > 0 {
			args[at], args[at+1], args[at+2] = "maxlen", "~", w.most
			at += 3
		}
	}
	args[at] = "*"
	if e.ID != "" {
		args[at] = &e.ID
	}
	at++
	for f := range e.Fields {
		args[at], args[at+1] = &e.Fields[f].Name, (*fieldValue)(&e.Fields[f])
		at += 2
	}
	c.queue, c.sent, c.index = append(c.queue, cmd), append(c.sent, cmd), append(c.index, index)
}

func (w *Writer) keyOf(e *redisio.Outgoing) string {
	if e.Key != "" {
		return e.Key
	}
	return w.cfg.Key
}

// check finds what the server would refuse, or take badly, before anything is sent.
func (w *Writer) check(e *redisio.Outgoing) error {
	key := w.keyOf(e)
	if key == "" {
		return &fault.OutcomeError{
			Outcome: redisio.ErrNotWritten,
			Cause:   errors.New("neither the entry nor the writer names a key"),
		}
	}
	if len(e.Fields) == 0 {
		return &fault.OutcomeError{
			Outcome: redisio.ErrNotWritten,
			Cause:   fmt.Errorf("an entry for %q without fields: Redis takes none", fault.KeyName(key)),
		}
	}
	if size := e.Fields.Size(); size > w.cfg.MaxPayload {
		return &redisio.TooLargeError{Key: key, Size: size, Limit: w.cfg.MaxPayload}
	}
	return nil
}

// command returns a command with n arguments, one used before if there is one.
func (c *chunk) command(n int) *redis.StringCmd {
	at := len(c.sent)
	if at < len(c.cmds) && len(c.cmds[at].Args()) == n {
		cmd := c.cmds[at]
		cmd.SetErr(nil)
		cmd.SetVal("")
		return cmd
	}
	cmd := redis.NewStringCmd(context.Background(), make([]any, n)...)
	cmd.SetFirstKeyPos(1)
	if at < len(c.cmds) {
		c.cmds[at] = cmd
	} else {
		c.cmds = append(c.cmds, cmd)
	}
	return cmd
}

// clear lets go of the entries, which are the caller's.
func (c *chunk) clear() {
	for _, cmd := range c.sent {
		clear(cmd.Args())
	}
	clear(c.queue) // extra commands are not used again
	clear(c.parts)
	if c.spent {
		clear(c.cmds)
		c.cmds, c.spent = c.cmds[:0], false
	}
	c.queue, c.sent, c.index, c.parts = c.queue[:0], c.sent[:0], c.index[:0], c.parts[:0]
}
