package flow

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m, func() error { return goleak.Find() })) }
