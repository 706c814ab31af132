package redisio

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestSplitHosts(t *testing.T) {
	for in, want := range map[string]string{
		"redis://a:1":                 "redis://a:1 []",
		"redis://a:1,b:2,c:3/0?x=1,2": "redis://a:1/0?x=1,2 [b:2 c:3]",
		"redis://u:p,w@a:1,b:2":       "redis://u:p,w@a:1 [b:2]",
		"unix:///tmp/a,b":             "unix:///tmp/a,b []",
	} {
		first, more := splitHosts(in)
		if got := first + " [" + strings.Join(more, " ") + "]"; got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	rdb, _, err := clientFor("redis://a:1,b:2", ConnectOptions{})
	if c, ok := rdb.(*redis.ClusterClient); err != nil || !ok || len(c.Options().Addrs) != 2 {
		t.Errorf("%T, %v", rdb, err)
	}
	_ = rdb.Close()
}

func TestConnectErrorHidesPasswordsOfTheQuery(t *testing.T) {
	rdb, where, err := clientFor("redis://user:hush1@127.0.0.1:1?master_name=m&password=hush2", ConnectOptions{})
	if err != nil || strings.Contains(where, "hush") || !strings.Contains(where, "127.0.0.1:1") {
		t.Fatalf("%q, %v", where, err)
	}
	if err := rdb.Close(); err != nil {
		t.Fatal(err)
	}
}
