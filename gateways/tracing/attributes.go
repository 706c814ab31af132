package tracing

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways"
)

// Attributes that no convention has.
const (
	keyGraph    = attribute.Key("streamerson.graph")
	keyStage    = attribute.Key("streamerson.stage")
	keyType     = attribute.Key("streamerson.message.type")
	keyEntry    = attribute.Key("streamerson.entry.id")
	keyAttempt  = attribute.Key("streamerson.entry.attempt")
	keyOutcome  = attribute.Key("streamerson.outcome")
	keyTries    = attribute.Key("streamerson.tries")
	keyAfter    = attribute.Key("streamerson.after_ms")
	keyMessage  = attribute.Key("exception.message")
	keyErrorOf  = attribute.Key("exception.type")
	keySystem   = "redis"
	otherMethod = "_OTHER"
)

// operations are the names and the types of the operations of the messaging conventions.
var operations = map[flow.WorkKind][2]attribute.KeyValue{
	flow.WorkEntry: {semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess},
	flow.WorkWrite: {semconv.MessagingOperationName("send"), semconv.MessagingOperationTypeSend},
	flow.WorkCall:  {semconv.MessagingOperationName("call"), semconv.MessagingOperationTypeSend},
}

// base returns the attributes that a sampler may decide by.
func base(w *flow.Work) []attribute.KeyValue {
	if w.Stream != "" {
		op := operations[w.Kind]
		return []attribute.KeyValue{
			semconv.MessagingSystemKey.String(keySystem), semconv.MessagingDestinationName(cut(w.Stream)), op[0], op[1],
		}
	}
	if w.Kind == flow.WorkServe && w.Protocol == "http" {
		return []attribute.KeyValue{
			semconv.HTTPRequestMethodKey.String(method(w.Method)), semconv.HTTPRoute(cut(w.Route)),
			semconv.URLPath(cut(w.Path)),
		}
	}
	return nil
}

// details appends the other attributes.
func details(all []attribute.KeyValue, w *flow.Work) []attribute.KeyValue {
	text := func(key attribute.Key, value string) {
		if value != "" {
			all = append(all, key.String(cut(value)))
		}
	}
	text(keyGraph, w.Graph)
	text(keyStage, w.Stage)
	text(semconv.MessagingConsumerGroupNameKey, w.Group)
	text(semconv.MessagingMessageIDKey, w.Meta.MessageID)
	text(keyType, w.Meta.Type)
	if w.Kind == flow.WorkEntry {
		text(keyEntry, w.Meta.ID)
		if w.Meta.Attempt > 1 {
			all = append(all, keyAttempt.Int(w.Meta.Attempt))
		}
	}
	if w.Protocol != "http" {
		text(semconv.NetworkProtocolNameKey, w.Protocol)
	}
	if n := len(w.Links); n > 0 {
		all = append(all, semconv.MessagingBatchMessageCount(n))
	}
	return all
}

// method returns a known HTTP method, because callers may invent any number of others.
func method(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return m
	}
	return otherMethod
}

// errorType returns a short name of the kind of an error, of which there are few.
func errorType(err error) string {
	var remote *gateways.RemoteError
	if errors.As(err, &remote) {
		return cut(string(remote.Code))
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return fmt.Sprintf("%T", err)
		}
		err = inner
	}
}
