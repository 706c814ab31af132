package writer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/conn"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// command is one command of a pipeline.
type command struct {
	args  []any             // for go-redis
	key   int8              // position of the key in args; 0: none
	entry int               // of an XADD: the index of its entry
	reply func(*chunk, int) // reads one reply from chunk.replies; gets entry
}

// chunk is the scratch memory of one pipeline. It is reused, so a pipeline allocates little.
type chunk struct {
	entries []redisio.Outgoing // the caller's
	results []redisio.Result   // the caller's
	index   []int              // of the entries that can be sent
	later   []int              // of the entries that are scheduled
	parts   []part             // by key; empty if the writer is plain

	own     bool // own connections send, else go-redis
	cmds    []command
	out     []byte // cmds, encoded for an own connection
	args    []any  // of cmds, for go-redis
	replies replies
	tx      transaction

	raw   []*redis.RawCmd // cmds for go-redis
	queue []redis.Cmder   // the same
}

// begin begins a command with n arguments.
func (c *chunk) begin(n int) {
	if c.own {
		c.out = resp.AppendArray(c.out, n)
	}
}

// str appends an argument. A pointer as an argument of go-redis does not allocate.
func (c *chunk) str(s *string) {
	if c.own {
		c.out = resp.AppendBulk(c.out, *s)
	} else {
		c.args = append(c.args, s)
	}
}

// fields appends names and values.
func (c *chunk) fields(fields redisio.Fields) {
	if !c.own {
		c.args = resp.AppendFields(c.args, fields)
		return
	}
	out := c.out
	for i := range fields {
		out = resp.AppendBulk(out, fields[i].Name)
		out = resp.AppendBulk(out, fields[i].Value)
	}
	c.out = out
}

// add adds a command that was appended since from, a length of c.args.
func (c *chunk) add(from int, key int8, entry int, reply func(*chunk, int)) {
	c.cmds = append(c.cmds, command{c.args[from:len(c.args):len(c.args)], key, entry, reply})
}

// ask adds a command. Its arguments may allocate, so it is not for XADD.
func (c *chunk) ask(key int8, reply func(*chunk, int), args ...any) {
	if c.own {
		c.out = resp.AppendCommand(c.out, args)
	}
	c.cmds = append(c.cmds, command{args, key, 0, reply})
}

// done clears the commands. It keeps no argument, because some refer to the caller's entries.
func (c *chunk) done() {
	clear(c.cmds)
	clear(c.args)
	c.cmds, c.args, c.out, c.replies, c.tx = c.cmds[:0], c.args[:0], c.out[:0], replies{}, transaction{}
	if cap(c.out) > 2*conn.MaxKept { // a pipeline has up to MaxKept and one entry
		c.out = nil
	}
}

// clear makes the chunk ready for other entries.
func (c *chunk) clear() {
	clear(c.parts)
	c.entries, c.results, c.index, c.later, c.parts = nil, nil, c.index[:0], nil, c.parts[:0]
}

// sender encodes XADDs and sends pipelines of commands. It is safe for concurrent use.
type sender struct {
	cfg   *Config
	rdb   redis.UniversalClient // the caller's: never closed
	out   conn.Client
	lines *conn.Lines // own connections; nil if go-redis writes
	most  string      // MaxLen
	head  []byte      // of an XADD, encoded
	heads int         // arguments in head
	apart atomic.Bool // the user has no right to transactions
}

// words are arguments of XADD.
var words = struct{ xadd, idmp, nomkstream, maxlen, about, any string }{
	"xadd", "idmp", "nomkstream", "maxlen", "~", "*",
}

func (s *sender) keyOf(e *redisio.Outgoing) string {
	if e.Key != "" {
		return e.Key
	}
	return s.cfg.Key
}

// xadd adds an XADD for entry at. producer is that of IDMP, or nil.
func (s *sender) xadd(c *chunk, at int, producer *string, reply func(*chunk, int)) {
	e, from := &c.entries[at], len(c.args)
	n := s.heads + 2*len(e.Fields)
	if producer != nil {
		n += 3
	}
	c.begin(n)
	if c.own && e.Key == "" && e.ID == "" && producer == nil {
		c.out = append(c.out, s.head...)
	} else {
		s.xaddHead(c, e, producer)
	}
	c.fields(e.Fields)
	c.add(from, 1, at, reply)
}

// xaddHead appends the arguments of an XADD before the fields.
func (s *sender) xaddHead(c *chunk, e *redisio.Outgoing, producer *string) {
	key, id := &s.cfg.Key, &words.any
	if e.Key != "" {
		key = &e.Key
	}
	if e.ID != "" {
		id = &e.ID
	}
	c.str(&words.xadd)
	c.str(key)
	if producer != nil {
		c.str(&words.idmp)
		c.str(producer)
		c.str(&e.DedupeID)
	}
	if s.cfg.OnlyExisting {
		c.str(&words.nomkstream)
		if s.cfg.MaxLen > 0 {
			c.str(&words.maxlen)
			c.str(&words.about)
			c.str(&s.most)
		}
	}
	c.str(id)
}

// headOf returns the encoded head of most XADDs, and how many arguments it has.
func (s *sender) headOf() (head []byte, n int) {
	var c chunk
	s.xaddHead(&c, &redisio.Outgoing{}, nil)
	_, head, _ = bytes.Cut(resp.AppendCommand(nil, c.args), []byte("\n"))
	return head, len(c.args)
}

// pipeliner is the go-redis client of a cluster node. nil is the sender's.
type pipeliner interface{ Pipeline() redis.Pipeliner }

// do sends the commands in one pipeline and lets each read its reply, in order. It has two
// carriers: the writer's own connections, or go-redis for clusters and for clients of other types.
func (s *sender) do(ctx context.Context, c *chunk, via pipeliner) {
	if len(c.cmds) == 0 {
		return
	}
	defer c.done()
	if err := fault.Ended(ctx); err != nil {
		c.unsent(err)
		return
	}
	if s.lines != nil {
		s.sendOwn(ctx, c)
		return
	}
	s.sendGoRedis(ctx, c, via)
	if c.replies.moved && !s.out.Redirected() && s.cfg.Key != "" {
		_ = s.out.XLen(ctx, s.cfg.Key).Err() // go-redis follows this one, and reloads its slots
	}
}

// unsent reports to every command that nothing was sent.
func (c *chunk) unsent(err error) {
	c.replies = replies{broken: err, unsent: true}
	c.read()
}

// read lets each command read its reply.
func (c *chunk) read() {
	for i := range c.cmds {
		c.cmds[i].reply(c, c.cmds[i].entry)
	}
}

// sendOwn sends the commands on an own connection.
func (s *sender) sendOwn(ctx context.Context, c *chunk) {
	line, err := s.lines.Take(ctx)
	if err != nil {
		c.unsent(err)
		return
	}
	err = s.lines.Send(ctx, line, c.out, len(c.cmds))
	if err == nil {
		c.replies.Buf, err = s.lines.Receive(ctx, line, len(c.cmds))
	}
	s.readReplies(c, err)
	s.lines.Put(line, err == nil && !c.replies.stuck)
}

// readReplies lets the commands read what arrived on an own connection. broken is why the rest did not.
func (s *sender) readReplies(c *chunk, broken error) {
	c.replies.broken = broken
	c.read()
	if c.replies.stray {
		s.lines.Renew()
	}
	if c.replies.denied {
		s.apart.Store(true)
	}
}

// sendGoRedis sends the commands by go-redis, and reads its replies raw.
func (s *sender) sendGoRedis(ctx context.Context, c *chunk, via pipeliner) {
	for i := range c.cmds {
		c.queue = append(c.queue, s.rawCmd(c, i))
	}
	if via == nil {
		via = s.out
	}
	pipe := via.Pipeline()
	_ = pipe.BatchProcess(ctx, c.queue...) // only queues
	_, failed := pipe.Exec(ctx)
	for i := range c.cmds {
		c.replies.from(c.raw[i], failed)
		c.cmds[i].reply(c, c.cmds[i].entry)
		clear(c.raw[i].Args())
	}
	clear(c.queue)
	c.queue = c.queue[:0]
}

// rawCmd returns command i for go-redis. It reuses the one of an earlier pipeline if it can,
// because each has its own list of arguments. In a cluster a command remembers the slot of its key.
func (s *sender) rawCmd(c *chunk, i int) *redis.RawCmd {
	cmd := &c.cmds[i]
	if i < len(c.raw) && len(c.raw[i].Args()) == len(cmd.args) && cmd.key == 1 &&
		(s.out.Cluster == nil || cmd.args[1] == any(&s.cfg.Key)) {
		copy(c.raw[i].Args(), cmd.args)
		c.raw[i].SetErr(nil)
		c.raw[i].SetVal(nil)
		return c.raw[i]
	}
	raw := redis.NewRawCmd(context.Background(), append([]any(nil), cmd.args...)...)
	raw.SetFirstKeyPos(cmd.key)
	if i < len(c.raw) {
		c.raw[i] = raw
	} else {
		c.raw = append(c.raw, raw)
	}
	return raw
}

// replies are the replies to a pipeline, as far as they arrived.
type replies struct {
	resp.Walker
	broken error // why the rest is missing
	unsent bool  // nothing was sent
	stray  bool  // the server is not one to write to
	moved  bool  // another node of the cluster has the key
	stuck  bool  // the connection is in a transaction that cannot end
	denied bool  // the user has no right to transactions
}

// from continues with the reply to a command that go-redis sent in a pipeline. failed is the error
// of the pipeline. If a connection breaks, go-redis sets its error also on commands that were
// answered before.
func (r *replies) from(cmd *redis.RawCmd, failed error) {
	raw, err := cmd.Result()
	if err == nil && len(raw) == 0 {
		err = failed
	}
	switch {
	case fault.IsServerSaid(err):
		raw, err = fmt.Appendf(nil, "-%v\r\n", err), nil
	case err != nil && resp.Whole(raw):
		err = nil
	case err != nil:
		raw = nil
	}
	r.Buf, r.Pos, r.broken, r.unsent = raw, 0, err, fault.NeverSent(err)
}

// note remembers what an error reply means for the connection, and returns the error. An error that
// is not the server's means that the reply is missing.
func (r *replies) note(err error) error {
	switch {
	case err == nil || err == resp.ErrNilReply:
		return err
	case fault.IsServerSaid(err):
		r.stray = r.stray || fault.WrongServer(err)
		r.moved = r.moved || fault.Judge(err) == fault.Moved
		return err
	}
	r.Pos = len(r.Buf) // the rest is missing too
	if r.broken != nil {
		err = r.broken
	}
	return err
}

// text returns the next reply as a string.
func (r *replies) text() (string, error) {
	text, err := r.Text()
	return scan.String(text), r.note(err)
}

// number returns the next reply as a number.
func (r *replies) number() (int64, error) {
	text, err := r.text()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		err = r.note(&resp.ReplyError{Offset: r.Pos, Problem: "not a number"})
	}
	return n, err
}

// list reads the start of a list of n elements.
func (r *replies) list(n int) error {
	_, had, err := r.Header()
	if err == resp.ErrNilReply || err == nil && had != n {
		err = &resp.ReplyError{Offset: r.Pos, Problem: fmt.Sprintf("a list of %d instead of %d", had, n)}
	}
	return r.note(err)
}

// result is the next reply, as the reply to an XADD.
func (r *replies) result() redisio.Result {
	id, err := r.text()
	if err == nil && id == "QUEUED" {
		r.stuck = true
		err = r.note(errors.New("redisio: the connection was in a transaction"))
	}
	if err != nil {
		return r.failed(err)
	}
	return redisio.Result{ID: id}
}

// failed returns the result of an entry with the reply err.
func (r *replies) failed(err error) redisio.Result {
	outcome := redisio.ErrUnknownOutcome
	switch {
	case err == resp.ErrNilReply:
		outcome, err = redisio.ErrNotWritten, redisio.ErrNoStream
	case r.unsent || fault.IsServerSaid(err):
		outcome = redisio.ErrNotWritten
	}
	return redisio.Result{Err: &fault.OutcomeError{Outcome: outcome, Cause: err}}
}

// wrote reads the reply to a plain XADD.
func (c *chunk) wrote(at int) { c.results[at] = c.replies.result() }
