package gateways

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

// A call that was answered leaves the one alone that has begun with the same ID since.
func TestForgetLeavesOthersAlone(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	c := NewClient(rdb, "topic", ClientConfig{})
	first, second := &pending{}, &pending{}
	c.waiting["x"] = second // the reply to the first has come
	c.forget("x", first)
	if c.waiting["x"] != second {
		t.Error("the second will not get its reply")
	}
	c.forget("x", second)
	if len(c.waiting) != 0 {
		t.Error("it is not forgotten")
	}
}
