package gateways

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/gateways/internal/outbox"
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

// An answered call leaves its memory to the next one, but not before the outbox is done with it.
func TestAnsweredCallsAreUsedAgain(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	c := NewClient(rdb, "topic", ClientConfig{})
	ctx, body, p := t.Context(), []byte(`{"n":1}`), c.calls.pending()
	until := time.Now().Add(time.Hour)
	call := func() {
		p.sent = time.Now()
		r := Request{ID: "x", Type: "count", Body: body, ContentType: "application/json"}
		if err := c.address(ctx, until, &r, p, true); err != nil {
			t.Fatal(err)
		}
		p.reply, p.answered = Response{Body: body}, true
		p.Ev <- outbox.ErrFull // a copy could not be written
		p.Release()
	}
	call()
	if len(p.Ev) > 0 || p.answered || p.reply.Body != nil || p.request.ID != "" || p.Out.Fields != nil {
		t.Errorf("%+v still has something of the call", p)
	}
	if got := testing.AllocsPerRun(100, call); got > 0 {
		t.Errorf("%v allocations", got)
	}
	p.reply.Body = body
	if p.Release(); p.reply.Body == nil {
		t.Error("it was used again without an answer")
	}
}
