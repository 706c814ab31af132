package tracing

import (
	"unicode/utf8"

	"go.opentelemetry.io/otel/propagation"

	"github.com/streamerson/streamerson-go/flow"
)

// carrier reads a trace from headers. Too long values count as missing, because senders may be
// hostile: parsing takes time, and all of it travels on.
type carrier flow.Headers

var _ propagation.TextMapCarrier = carrier{}

var longest = map[string]int{flow.HeaderTraceparent: 128, flow.HeaderTracestate: 512, flow.HeaderBaggage: 8 << 10}

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(name string) string {
	if v, _ := flow.Headers(c).Get(name); len(v) <= longest[name] {
		return v
	}
	return ""
}

// Set is not used for reading.
func (c carrier) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string { return nil }

// written collects the headers of a span.
type written struct{ headers flow.Headers }

// Get is not used for writing.
func (w *written) Get(string) string { return "" }

// Set implements propagation.TextMapCarrier.
func (w *written) Set(name, value string) {
	w.headers = append(w.headers, flow.Header{Name: name, Value: value})
}

// Keys is not used for writing.
func (w *written) Keys() []string { return nil }

// maxText is the longest text of an attribute or a name, in bytes.
const maxText = 256

// cut shortens a text that others may have chosen.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	at := maxText
	for at > maxText-utf8.UTFMax && !utf8.RuneStart(s[at]) {
		at--
	}
	return s[:at]
}
