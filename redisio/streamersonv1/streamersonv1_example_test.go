package streamersonv1_test

import (
	"fmt"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/streamersonv1"
)

// An entry as streamerson for Node writes it.
func ExampleFormat() {
	type greeting struct{ World string }
	format := streamersonv1.Format(redisio.JSON[greeting]())
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

func ExampleTopic() {
	topic := streamersonv1.Topic{Namespace: "my-stream-topic"} // new Topic('my-stream-topic')
	fmt.Println(topic.Incoming())
	fmt.Println(topic.Outgoing())
	fmt.Println(topic.Subtopic("eu").Incoming())
	// Output:
	// my-stream-topic::DEFAULT::CONSUMER_INCOMING
	// my-stream-topic::DEFAULT::PRODUCER_OUTGOING
	// my-stream-topic::DEFAULT(eu)::CONSUMER_INCOMING
}
