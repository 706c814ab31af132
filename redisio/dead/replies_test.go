package dead

import (
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/redisio/internal/rig"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Dead letters that do not fit into a reply are listed all the same.
func TestFault_D7_DeadLettersThatAreNotSent(t *testing.T) {
	srv := redistest.Start(t, redistest.Args("--client-output-buffer-limit", "normal 1mb 0 0"))
	rdb := srv.Client(t)
	key := redistest.Key(t)
	for range 20 { // three fit into a reply
		add := redistest.Entry(key, "data", strings.Repeat("x", 300<<10))
		if err := rdb.XAdd(rig.Ctx(t), add).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(letters(t, rdb, key, Filter{})); n != 20 {
		t.Errorf("%d dead letters", n)
	}
}
