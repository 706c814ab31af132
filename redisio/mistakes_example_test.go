package redisio_test

import (
	"fmt"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
)

func ExampleMistakes() {
	every, key := -time.Second, ""
	m := redisio.MistakesOf("PollConfig")
	m.Empty("Key", key, "name the stream")
	m.Negative("Every", int64(every), "leave it 0 for 1s")
	fmt.Println(m.Err())
	// Output:
	// redisio: PollConfig.Key: is empty; name the stream
	// redisio: PollConfig.Every: is negative; leave it 0 for 1s
}
