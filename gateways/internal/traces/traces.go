// Package traces holds what calls, events and gateways have in common about traces.
package traces

import (
	"strings"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/redisio"
)

// Limits of what outsiders may add to entries.
const (
	MaxTraceparent = 55
	MaxTracestate  = 512
	MaxBaggage     = 8 << 10
)

// Valid reports whether t is a traceparent of W3C Trace Context, version 00.
func Valid(t string) bool {
	if len(t) != MaxTraceparent || t[:3] != "00-" || t[35] != '-' || t[52] != '-' {
		return false
	}
	return hexadecimal(t[3:35]) && hexadecimal(t[36:52]) && hexadecimal(t[53:]) && !zeros(t[3:35]) && !zeros(t[36:52])
}

func hexadecimal(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

func zeros(s string) bool { return strings.Trim(s, "0") == "" }

// Printable returns the lines of a header as one if they have at most most bytes of printable ASCII,
// else "".
func Printable(lines []string, most int) string {
	if len(lines) == 0 {
		return ""
	}
	text := lines[0]
	if len(lines) > 1 {
		text = strings.Join(lines, ",")
	}
	if len(text) > most {
		return ""
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return ""
		}
	}
	return text
}

// Outside returns what is valid of the trace of an outsider.
func Outside(traceparent, tracestate, baggage []string) (trace flow.Headers) {
	add := func(name, value string) {
		if value != "" {
			trace = append(trace, flow.Header{Name: name, Value: value})
		}
	}
	if len(traceparent) == 1 && Valid(traceparent[0]) {
		add(flow.HeaderTraceparent, traceparent[0])
		add(flow.HeaderTracestate, Printable(tracestate, MaxTracestate))
	}
	add(flow.HeaderBaggage, Printable(baggage, MaxBaggage))
	return trace
}

// Set returns headers with another trace. It does not modify the slice. Without a trace it
// returns the headers as they are.
func Set(headers, trace flow.Headers) flow.Headers {
	if len(trace) == 0 {
		return headers
	}
	set := make(flow.Headers, 0, len(headers)+len(trace))
	for _, h := range headers {
		if !isTrace(h.Name) {
			set = append(set, h)
		}
	}
	return append(set, trace...)
}

// Of returns the trace of an envelope as headers, with dst before them.
func Of(dst flow.Headers, e *redisio.Envelope) flow.Headers {
	for _, h := range [...]flow.Header{
		{Name: flow.HeaderTraceparent, Value: e.Traceparent}, {Name: flow.HeaderTracestate, Value: e.Tracestate},
		{Name: flow.HeaderBaggage, Value: e.Baggage},
	} {
		if h.Value != "" {
			dst = append(dst, h)
		}
	}
	return dst
}

func isTrace(name string) bool {
	return name == flow.HeaderTraceparent || name == flow.HeaderTracestate || name == flow.HeaderBaggage
}

// End ends the span of a call or a write with its error; nil does nothing.
func End(span flow.Span, err *error) {
	switch {
	case span == nil:
	case *err != nil:
		span.End(flow.Failed, *err)
	default:
		span.End(flow.Acked, nil)
	}
}
