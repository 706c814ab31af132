package faulttest

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	Worker()          // exits if a trial started this process
	logging.Disable() // faults break connections all the time
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}
