package writer

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

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
