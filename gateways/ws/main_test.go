package ws_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	if arg := os.Getenv(crowdEnv); arg != "" {
		crowdMain(arg)
		return
	}
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}
