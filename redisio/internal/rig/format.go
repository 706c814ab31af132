package rig

import (
	"flag"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

var Update = flag.Bool("update", false, "write golden files")

type Order struct {
	ID    string  `json:"id"`
	Total float64 `json:"total"`
}

func Full() redisio.Envelope {
	return redisio.Envelope{
		ID: "m-1", Key: "customer-7", Type: "order", ContentType: "application/json; v=2", ReplyTo: "replies",
		Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Tracestate:  "vendor=1", Baggage: "tenant=t1",
		Deadline: time.UnixMilli(1732360000123), MaybeDuplicate: true,
		Headers: []redisio.Header{
			{Name: "tenant", Value: "t1"},
			{Name: "tenant", Value: "t2"},
			{Name: "", Value: "empty name"},
		},
	}
}

// AnyBytes is a codec without a content type of its own.
type AnyBytes struct{ redisio.Codec[[]byte] }

func (AnyBytes) ContentType() string { return "" }
