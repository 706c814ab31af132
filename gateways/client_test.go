package gateways

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

// An answered call does not remove a later call with the same ID.
func TestForgetLeavesOthersAlone(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	c := NewClient(rdb, "topic", ClientConfig{})
	first, second := &pending{}, &pending{}
	c.calls.waiting["x"] = second // the reply to the first has arrived
	c.forget("x", first)
	if c.calls.waiting["x"] != second {
		t.Error("the second will not get its reply")
	}
	c.forget("x", second)
	if len(c.calls.waiting) != 0 {
		t.Error("it is not forgotten")
	}
}
