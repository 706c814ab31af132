package ratelimit

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(memberURL); url != "" {
		os.Exit(member(url))
	}
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}
