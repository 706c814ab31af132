package web

import (
	"context"
	"errors"
	"net/http"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
)

// ErrorBody is the JSON body of every failure that an Endpoint answers with, unless the body is the
// service's.
//
//	{"error": {"code": "invalid_request", "message": "limit must be a whole number", "field": "limit"}}
//
// The failure determines the status:
//
//	400  invalid_request   the request can't be parsed or bound, or the service returned it
//	401  unauthorized      Authenticate failed, or the service returned it
//	403, 404, 409          forbidden, not_found, conflict: returned by the service
//	408  timeout           the body arrived too slowly
//	413  too_large         the body is longer than MaxBody
//	414, 431               too_large: path and query, or the forwarded headers, exceed 8 KiB
//	415  unsupported_type  Accept does not name the body's type
//	422                    any other code of the service, without a status
//	500  internal          the handler failed; details stay in the service's log
//	501  no_handler        no service handles the type
//	502  bad_reply         the reply is invalid; reply_too_large;
//	                       interrupted: the replying process is gone
//	503  overloaded        with Retry-After, also when bodies exceed BodyMemory;
//	                       unavailable: Redis is unavailable, or the server is stopping
//	504  timeout           no reply in time
//
// A status from 400 to 599 in a *RemoteError takes precedence.
type ErrorBody = problem.Body

// ErrorDetail describes the failure: its Code, a Message for people, and the Field of the request
// that is invalid, if known.
type ErrorDetail = problem.Detail

// statusGone is written when the caller has disconnected. Only the access log shows it.
const statusGone = 499

// refuse answers with an error.
func (e *Endpoint) refuse(w http.ResponseWriter, in *incoming, err error) {
	var at problem.Error
	var panicked *flow.PanicError
	if ctx := in.http.Context(); !errors.As(err, &at) && !errors.As(err, &panicked) &&
		errors.Is(ctx.Err(), context.Canceled) && context.Cause(ctx) != ErrStopping {
		e.stats.gone.Add(1)
		w.WriteHeader(statusGone)
		return
	}
	r := problem.Of(err)
	switch {
	case e.err != nil || e.seen.Load() != nil && e.seen.Load().err != nil:
		r = problem.New(gateways.CodeInternal, "route misconfigured: see the server's log")
		e.cfg.log.Error("http: route misconfigured", "id", in.id, "error", err)
	case problem.LogPanic(e.cfg.log, err, "http: callback panicked", "id", in.id):
	case r.Code == gateways.CodeBadReply, r.Code == gateways.CodeUnavailable:
		e.cfg.log.Warn("http: request failed", "id", in.id, "status", r.Status, "error", err)
	}
	e.stats.count(r.Status)
	r.Write(w)
}
