package slot

import (
	"errors"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/redisio"
)

func TestCheck(t *testing.T) {
	for _, good := range []string{"orders", "{orders}", "a b", strings.Repeat("x", 200)} {
		if err := Check("C", "topic", good, "orders"); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "{}", "{a}b", "a{b}", "{a", "a}", strings.Repeat("x", 201)} {
		var mistake *redisio.ConfigError
		if err := Check("C", "topic", bad, "orders"); !errors.As(err, &mistake) || mistake.Type != "C" ||
			mistake.Field != "topic" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTag(t *testing.T) {
	for name, want := range map[string]string{"orders": "{orders}", "{orders}": "{orders}"} {
		if got := Tag(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}
