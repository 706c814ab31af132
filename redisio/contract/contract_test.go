package contract_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/contract"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/internal/server"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

// TestContract checks the rules on every server there is: the in-process one, redis-server, those
// that COMPAT_SERVERS names, and the one of REDIS_URL. With COMPAT_TABLE it writes the outcomes to
// that file; `make compat` sets it.
func TestContract(t *testing.T) {
	var table contract.Table
	t.Run("embedded", func(t *testing.T) {
		s, err := embedded.Start()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		rdb := s.Client()
		defer rdb.Close()
		run(t, &table, contract.Server{Name: "embedded", Client: rdb, Differs: contract.EmbeddedDiffers()})
	})
	t.Run("redis-server", func(t *testing.T) { onBinary(t, &table, "redis-server") })
	for _, path := range strings.Fields(os.Getenv("COMPAT_SERVERS")) {
		t.Run(filepath.Base(path), func(t *testing.T) { onBinary(t, &table, path) })
	}
	if url := os.Getenv("REDIS_URL"); url != "" {
		t.Run("REDIS_URL", func(t *testing.T) {
			rdb, err := redisio.Connect(t.Context(), url, redisio.ConnectOptions{Wait: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer rdb.Close()
			run(t, &table, contract.Server{Name: name(t, rdb), Client: rdb})
		})
	}
	t.Logf("\n%s", table.Markdown())
	if path := os.Getenv("COMPAT_TABLE"); path != "" && !t.Failed() {
		if err := os.WriteFile(path, []byte(table.Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// onBinary starts a server of the test's own.
func onBinary(t *testing.T, table *contract.Table, path string) {
	s, err := server.Start(t.Context(), server.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: redistest.Patience})
	defer rdb.Close()
	run(t, table, contract.Server{Name: name(t, rdb), Client: rdb})
	if keys := rdb.DBSize(context.Background()).Val(); keys != 0 {
		t.Errorf("%d keys are left behind", keys)
	}
}

func run(t *testing.T, table *contract.Table, s contract.Server) { table.Add(s, contract.Run(t, s)) }

// name returns a server's description of itself, for people only.
func name(t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	info := rdb.InfoMap(context.Background(), "server").Val()["Server"]
	for _, field := range []string{"valkey_version", "dragonfly_version", "redis_version"} {
		if v := info[field]; v != "" {
			return strings.TrimSuffix(field, "_version") + " " + strings.TrimPrefix(v, "df-v")
		}
	}
	return "unknown server"
}
