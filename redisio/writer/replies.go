package writer

import (
	"errors"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/resp"
	"github.com/streamerson/streamerson-go/redisio/internal/scan"
)

// replies are the answers to a pipeline, as far as they came.
type replies struct {
	resp.Walker
	broken error // why there are not all
	stray  bool  // the server is none to write to
	stuck  bool  // the connection is in a transaction that cannot end
}

// next returns the next answer. An error of the server is a redis.Error; others say that the answer did not come.
func (r *replies) next() (string, error) {
	text, err := r.Text()
	if fault.IsServerSaid(err) {
		r.stray = r.stray || fault.Says(err, "NOREPLICAS") || fault.Says(err, "READONLY") || fault.Says(err, "NOAUTH")
	}
	return scan.String(text), err
}

// result is the next answer as that to an XADD.
func (r *replies) result() redisio.Result {
	id, err := r.next()
	switch {
	case err == nil && id == "QUEUED":
		r.stuck = true
		return r.Lost(errors.New("redisio: the connection was in a transaction"))
	case err == nil:
		return redisio.Result{ID: id}
	case err == resp.ErrNilReply:
		return redisio.Result{Err: &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: redisio.ErrNoStream}}
	case fault.IsServerSaid(err):
		return redisio.Result{Err: &fault.OutcomeError{Outcome: redisio.ErrNotWritten, Cause: err}}
	}
	return r.Lost(err)
}

// Lost is the result of an entry whose answer did not come.
func (r *replies) Lost(err error) redisio.Result {
	r.Pos = len(r.Buf) // nor do those behind it
	if r.broken != nil {
		err = r.broken
	}
	return redisio.Result{Err: &fault.OutcomeError{Outcome: redisio.ErrUnknownOutcome, Cause: err}}
}

// takeEach takes the answers to XADDs.
func (r *replies) takeEach(index []int, results []redisio.Result) {
	for _, at := range index {
		results[at] = r.result()
	}
}
