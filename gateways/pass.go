package gateways

import (
	"context"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/internal/plan"
)

// Names of the headers of requests that come from HTTP.
const (
	HeaderMethod    = "http-method"
	HeaderPath      = "http-path"  // escaped
	HeaderQuery     = "http-query" // unparsed, without the question mark
	HeaderPathValue = "http-path-" // followed by the name of the value, such as "http-path-id"
	HeaderRequestID = "request-id"
	HeaderIdentity  = "identity" // the caller's identity, as Authenticate returned it
)

// PassOn returns a context whose calls and events pass on the trace, the request ID and the
// identity in headers, unless they set their own. The context of a Service's handler already does
// so. PassOn is for graphs, whose stages receive the headers with the message:
//
//	operators.MapMessage(requests, func(ctx context.Context, m flow.Message[Order]) (Quote, error) {
//		return price(gateways.PassOn(ctx, m.Headers()), m.Value)
//	})
func PassOn(ctx context.Context, headers flow.Headers) context.Context {
	return plan.PassOn(ctx, headers)
}
