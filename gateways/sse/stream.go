package sse

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strconv"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/eventstream"
	"github.com/streamerson/streamerson-go/gateways/internal/problem"
	"github.com/streamerson/streamerson-go/redisio"
)

// ServeStream serves the values of a streamed reply as server-sent events. Each value is an event
// of type "message", as JSON unless it is a string or bytes. The last event has the type "end" and
// the data {}. The call ends with the request's context when the client disconnects.
//
//	count := gateways.Stream[Range, int](client, "count")
//	mux.HandleFunc("GET /count", func(w http.ResponseWriter, r *http.Request) {
//		gateways.ServeStream(w, r, count(r.Context(), Range{1, 10}))
//	})
//
// An error before the first value is answered as by web.HTTP. A later error is an event of type
// "failure" with a web.ErrorBody as its data. A client that does not read a value within 10 seconds is
// disconnected. A browser reconnects when an answer ends; it is answered with 204, which stops it,
// because a reply is sent once. There are no heartbeats: behind proxies, send values often enough.
func ServeStream[T any](w http.ResponseWriter, r *http.Request, values iter.Seq2[T, error]) {
	if lastEventID(r) != "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	out := eventstream.New(w, defaultSSEWrite)
	codec := redisio.DefaultCodec[T]()
	n := 0
	tell := func(typ string, data []byte) bool {
		n++
		return out.Event(strconv.Itoa(n), typ, data) == nil && out.Flush() == nil
	}
	defer out.End()
	err := eachValue(values, func(v T) (bool, error) {
		data, err := codec.Append(nil, v)
		if err != nil {
			return false, err
		}
		return tell("", data), nil
	})
	switch {
	case err == errGone:
	case err == nil:
		tell("end", []byte("{}"))
	case n == 0:
		problem.Of(err).Write(w)
	default:
		ref := problem.Of(err)
		// can't fail: all fields can be encoded
		data, _ := json.Marshal(
			problem.Body{Error: problem.Detail{Code: ref.Code, Message: ref.Message, Field: ref.Field}},
		)
		tell("failure", data)
	}
}

var errGone = errors.New("gateways: the client disconnected")

// eachValue passes each value to a function until it returns false, which is errGone. It stops at
// the first error or panic.
func eachValue[T any](values iter.Seq2[T, error], each func(T) (bool, error)) (err error) {
	defer func() {
		problem.LogPanic(flow.Logger(context.Background()), err, "sse: stream panicked")
	}()
	defer problem.Caught(&err)
	for v, err := range values {
		if err != nil {
			return err
		}
		switch goes, err := each(v); {
		case err != nil:
			return err
		case !goes:
			return errGone
		}
	}
	return nil
}
