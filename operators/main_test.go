package operators_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// Main gives goroutines that end late more time than goleak.VerifyTestMain does.
func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}
