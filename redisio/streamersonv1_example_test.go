package redisio_test

import (
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
)

// An entry as streamerson for Node writes it.
func ExampleStreamersonV1() {
	type greeting struct{ World string }
	format := redisio.StreamersonV1(redisio.JSON[greeting]())
	fields, _, err := format.Encode(
		nil,
		nil,
		&redisio.Envelope{ID: "2ef8f781", Type: "resp"},
		greeting{"I am a stream processor"},
	)
	if err != nil {
		fmt.Println(err)
	}
	for _, f := range fields {
		fmt.Printf("%q %q\n", f.Name, f.Value)
	}
	// Output:
	// "2ef8f781" "resp"
	// "" "nil"
	// "json" ""
	// "UnoccupiedField" "{\"World\":\"I am a stream processor\"}"
}

func ExampleStreamersonTopic() {
	topic := redisio.StreamersonTopic{Namespace: "my-stream-topic"} // new Topic('my-stream-topic')
	fmt.Println(topic.Incoming())
	fmt.Println(topic.Outgoing())
	fmt.Println(topic.Subtopic("eu").Incoming())
	// Output:
	// my-stream-topic::DEFAULT::CONSUMER_INCOMING
	// my-stream-topic::DEFAULT::PRODUCER_OUTGOING
	// my-stream-topic::DEFAULT(eu)::CONSUMER_INCOMING
}
