package doctor

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/contract"
	"github.com/streamerson/streamerson-go/redisio/embedded"
	"github.com/streamerson/streamerson-go/redisio/redistest"
)

func TestMain(m *testing.M) {
	os.Exit(redistest.Main(m, func() error { return goleak.Find() }))
}

// examined examines a server and returns the findings by their checks.
func examined(t *testing.T, rdb redis.UniversalClient, o Options) (*Report, map[string]Finding) {
	t.Helper()
	r, err := Examine(t.Context(), rdb, o)
	if err != nil {
		t.Fatal(err)
	}
	byCheck := make(map[string]Finding)
	for _, f := range r.Findings {
		byCheck[f.Check] = f
		if f.Text == "" || f.Severity >= Warning && f.Fix == "" && f.Detail == "" {
			t.Errorf("a finding that does not say what to do: %+v", f)
		}
	}
	return r, byCheck
}

// rules returns some rules.
func rules(names ...string) []contract.Rule {
	return slices.DeleteFunc(contract.Rules(), func(r contract.Rule) bool { return !slices.Contains(names, r.Name) })
}

// wants fails unless a finding has this severity and text.
func wants(t *testing.T, found map[string]Finding, check string, s Severity, text string) {
	t.Helper()
	f, ok := found[check]
	if !ok || f.Severity != s || !strings.Contains(f.Text+f.Fix+f.Detail, text) {
		t.Errorf("%s: %v %+v, want %v with %q", check, f.Severity, f, s, text)
	}
}

// quiet examines the network again while a finding about it tells of a busy host.
func quiet(t *testing.T, rdb redis.UniversalClient, found map[string]Finding) {
	t.Helper()
	redistest.Soon(t, "the host is not too busy for good findings about the network", func() bool {
		for check, f := range found {
			if strings.HasPrefix(check, "network/") && f.Severity != Fine {
				_, again := examined(t, rdb, Options{Quick: true})
				maps.DeleteFunc(
					again,
					func(check string, _ Finding) bool { return !strings.HasPrefix(check, "network/") },
				)
				maps.Copy(found, again)
				return false
			}
		}
		return true
	})
}

// A server with good settings has nothing to change, and keeps its keys.
func TestHealthyServer(t *testing.T) {
	server := redistest.Start(t, redistest.Args("--appendonly", "yes", "--maxmemory", "200mb"))
	rdb := server.Client(t)
	rdb.Set(t.Context(), "theirs", "1", 0)
	var told []Finding
	last := 0
	r, found := examined(t, rdb, Options{
		OnFinding:  func(f Finding) { told = append(told, f) },
		OnProgress: func(done, all int, _ string) { last = all - done },
	})
	if r.Broken != 0 || r.Kept < 40 || last != 1 || !slices.Equal(told, r.Findings) {
		t.Errorf("%d hold, %d are broken, %d after the last: %+v", r.Kept, r.Broken, last, r.Findings)
	}
	for _, f := range r.Findings {
		if f.Severity > Note && !strings.HasPrefix(f.Check, "network/") {
			t.Errorf("%+v", f)
		}
	}
	quiet(t, rdb, found)
	for _, check := range []string{"memory/eviction", "memory/room", "persistence/kept", "network/latency",
		"network/clock", "network/block", "rights", "promises"} {
		wants(t, found, check, Fine, "")
	}
	if r.Server.Role != "master" || r.Server.Mode != "standalone" || r.Server.Version == "" || r.Server.Proxy {
		t.Errorf("%+v", r.Server)
	}
	if keys := rdb.Keys(t.Context(), "*").Val(); !slices.Equal(keys, []string{"theirs"}) {
		t.Errorf("keys %q", keys)
	}
}

// Nothing is written to a server that could lose something for it.
func TestUnfitServers(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		check string
		want  Severity
		text  string
	}{
		"evicts": {[]string{"--maxmemory-policy", "allkeys-lru", "--maxmemory", "12mb"}, "memory/eviction", Problem,
			"deletes whole streams"},
		"full":    {[]string{"--maxmemory", "500kb"}, "memory/room", Problem, "OOM"},
		"replica": {[]string{"--replicaof", "127.0.0.1", "1"}, "server/role", Problem, "READONLY"},
		"forgets": {[]string{"--maxmemory", "10mb"}, "persistence/kept", Warning, "neither appendonly nor save"},
		"snapshot": {[]string{"--save", "3600", "1", "--maxmemory", "10mb"}, "persistence/kept", Warning,
			"since the last"},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, redistest.Args(c.args...))
			r, found := examined(t, server.Client(t), Options{})
			wants(t, found, c.check, c.want, c.text)
			wants(t, found, "promises", Note, "not checked")
			if r.Kept+r.Broken != 0 || r.Open == 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// The findings name the rights that are missing, and promises are checked only with keys that the
// user may delete.
func TestRestrictedUsers(t *testing.T) {
	server := redistest.Shared(t)
	r, found := examined(t, server.User(t, "reads", "~*", "+ping", "+xread", "+xrange", "+xrevrange", "+xinfo|stream"),
		Options{})
	wants(t, found, "server/info", Note, "+info")
	wants(t, found, "server/config", Note, "config|get")
	wants(t, found, "rights/write", Warning, "no right to XADD")
	wants(t, found, "rights/write", Warning, "+xadd")
	wants(t, found, "promises", Note, "not checked")
	if _, ok := found["rights/follow a stream without a group"]; ok || r.Server.Product == "" || r.Server.Role == "" {
		t.Errorf("%+v", r)
	}

	orders := server.User(t, "orders", "~orders*", "+@all")
	_, found = examined(t, orders, Options{})
	wants(t, found, "rights/keys", Note, "prefix")
	wants(t, found, "promises", Note, "throw-away keys")
	r, found = examined(t, orders, Options{Prefix: "orders:", rules: rules("write/order", "new/claim")})
	wants(t, found, "rights", Fine, "")
	wants(t, found, "promises/rights", Note, "new/claim") // its probe has a key of its own
	if r.Broken != 0 || r.Kept != 1 || r.Open != 1 {
		t.Errorf("%+v", r)
	}

	_, found = examined(t, server.User(t, "keeps", "~*", "+@all", "-del", "-multi"), Options{})
	wants(t, found, "promises", Note, "no right to DEL")
	wants(t, found, "rights/write together", Note, "MULTI")
}

// The features and the trials of their commands stay complete.
func TestTrials(t *testing.T) {
	for _, f := range features() {
		for _, command := range f.access.Commands {
			if _, ok := trials[command]; !ok && !slices.Contains([]string{"multi", "exec", "watch"}, command) {
				t.Errorf("%s needs %s, which is not tried", f.name, command)
			}
		}
	}
	rdb := redistest.Start(t).Client(t)
	e := &examination{rdb: rdb, report: new(Report), nodes: []*node{{rdb: rdb}}}
	refused, err := e.try(t.Context())
	delete(refused, "waitaof") // of Redis 7.2
	if err != nil || len(refused) > 0 {
		t.Errorf("%v, %v", refused, err)
	}
	if n := rdb.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("trying left %d keys", n)
	}
}

// The in-process server differs, each time with the reason.
func TestEmbedded(t *testing.T) {
	s, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rdb := s.Client()
	defer rdb.Close()
	r, found := examined(t, rdb, Options{rules: rules("info/lag", "read/order", "new/waitaof")})
	wants(t, found, "server/version", Warning, "in-process")
	wants(t, found, "promise/info/lag", Problem, "XINFO GROUPS returns the stream's length")
	if r.Broken != 1 || r.Kept != 1 || r.Open != 1 || r.Server.Product != "miniredis" {
		t.Errorf("%d hold, %d are broken: %+v", r.Kept, r.Broken, r.Findings)
	}
}

// The end of ctx ends it, and its keys are gone.
func TestInterrupted(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Examine(ctx, rdb, Options{OnProgress: func(done, _ int, _ string) {
		switch done {
		case 12:
			go cancel()
		case 13:
			<-ctx.Done()
		}
	}})
	if !errors.Is(err, context.Canceled) || len(r.Findings) == 0 {
		t.Errorf("%v, %d findings", err, len(r.Findings))
	}
	if keys := rdb.Keys(t.Context(), "*").Val(); len(keys) != 0 {
		t.Errorf("%q are left", keys)
	}
}

// A server that goes away is an error, not fifty broken promises.
func TestServerGoesAway(t *testing.T) {
	server := redistest.Start(t)
	r, err := Examine(t.Context(), server.Client(t), Options{OnProgress: func(done, _ int, _ string) {
		if done == 2 {
			server.Kill(t)
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "went away") || r.Broken != 0 {
		t.Errorf("%v, %+v", err, r)
	}
	if _, err := Examine(t.Context(), server.Client(t), Options{}); err == nil {
		t.Error("no error without a server")
	}
}

func TestCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 0)
	rdb, err := redisio.Connect(t.Context(), cluster.URL(), redisio.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	r, found := examined(t, rdb, Options{Quick: true})
	if r.Server.Nodes != len(cluster.Nodes) || r.Server.Mode != "cluster" || found["memory/room"].Node == "" {
		t.Errorf("%+v", r)
	}
	_, found = examined(t, cluster.Nodes[0].Client(t), Options{})
	wants(t, found, "cluster/address", Problem, "MOVED")
	wants(t, found, "promises", Note, "one node of a cluster")
}

// deaf answers blocking reads at once.
type deaf struct{ redis.Hook }

func (deaf) DialHook(next redis.DialHook) redis.DialHook { return next }

func (deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "xread" {
			cmd.SetErr(redis.Nil)
			return redis.Nil
		}
		return next(ctx, cmd)
	}
}

func TestServerThatIgnoresBlock(t *testing.T) {
	rdb := redis.NewClient(redistest.Shared(t).Options())
	defer rdb.Close()
	rdb.AddHook(deaf{})
	_, found := examined(t, rdb, Options{Quick: true})
	wants(t, found, "network/block", Warning, "BLOCK is ignored")
}

// judged returns the finding of a check of settings.
func judged(judge func(*examination, *node), info, config map[string]string) Finding {
	e := &examination{report: new(Report)}
	judge(e, &node{info: info, config: config})
	return append(e.report.Findings, Finding{})[0]
}

func TestSettings(t *testing.T) {
	type fields = map[string]string
	for _, c := range []struct {
		judge        func(*examination, *node)
		info, config fields
		want         Severity
		text         string
	}{
		{(*examination).eviction, fields{"maxmemory_policy": "noeviction"}, nil, Fine, "refuses writes"},
		{(*examination).eviction, fields{"maxmemory": "9", "maxmemory_policy": "allkeys-lfu"}, nil, Problem, "whole"},
		{(*examination).eviction, fields{"maxmemory": "0", "maxmemory_policy": "allkeys-lfu"}, nil, Warning, "would"},
		{(*examination).eviction, fields{"maxmemory": "9", "maxmemory_policy": "volatile-ttl"}, nil, Warning, "expiry"},
		{(*examination).eviction, fields{"maxmemory": "0", "maxmemory_policy": "volatile-ttl"}, nil, Note, "effect"},
		{(*examination).eviction, nil, nil, Fine, ""},
		{(*examination).room, fields{"used_memory": "70", "maxmemory": "100"}, nil, Fine, ""},
		{(*examination).room, fields{"used_memory": "80", "maxmemory": "100"}, nil, Warning, "MaxAge"},
		{(*examination).room, fields{"used_memory": "95", "maxmemory": "100"}, nil, Problem, "OOM"},
		{(*examination).room, fields{"used_memory": "95", "maxmemory": "0"}, nil, Note, "no limit"},
		{(*examination).clients, fields{"connected_clients": "95", "maxclients": "100"}, nil, Problem, "maxclients"},
		{(*examination).clients, fields{"connected_clients": "5"}, fields{"maxclients": "100"}, Fine, ""},
		{(*examination).persistence, nil, fields{"appendonly": "yes", "appendfsync": "always"}, Fine, "nothing"},
		{(*examination).persistence, nil, fields{"appendonly": "yes", "appendfsync": "no"}, Warning, "everysec"},
		{(*examination).persistence, fields{"aof_enabled": "1"}, nil, Fine, "last second"},
		{(*examination).persistence, fields{"aof_enabled": "0"}, nil, Warning, "or everything"},
		{(*examination).persistence, nil, fields{"appendonly": "no", "save": "60 1"}, Warning, "come back"},
		{(*examination).persistence, nil, fields{"appendonly": "no", "save": ""}, Warning, "neither"},
		{(*examination).role, fields{"redis_mode": "sentinel"}, nil, Problem, "master_name"},
		{(*examination).role, fields{"loading": "1"}, nil, Warning, "loading"},
	} {
		f := judged(c.judge, c.info, c.config)
		if f.Severity != c.want || !strings.Contains(f.Text+f.Fix, c.text) {
			t.Errorf("%v %v: %v %+v, want %v with %q", c.info, c.config, f.Severity, f, c.want, c.text)
		}
	}
	e := &examination{report: new(Report)}
	e.persistence(&node{info: fields{"aof_enabled": "1", "rdb_last_bgsave_status": "err"}})
	if f := e.report.Findings; len(f) != 2 || f[1].Severity != Problem || !strings.Contains(f[1].Text, "MISCONF") {
		t.Errorf("%+v", f)
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[Identity]Severity{
		{Product: "redis", Version: "6.2.14"}: Warning, {Product: "redis", Version: "7.0.15"}: Note,
		{Product: "redis", Version: "8.10.0"}: Fine, {Product: "valkey", Version: "6.0"}: Fine,
		{Product: "redis", Version: "fork"}: Fine, {Product: "miniredis", Version: "6.0.5"}: Warning,
	} {
		e := &examination{report: &Report{Server: version}}
		e.version()
		if got := e.report.Worst(); got != want {
			t.Errorf("%v: %v, want %v", version, got, want)
		}
	}
	var id Identity
	id.name(map[string]string{"server": "redis", "version": "7.2.4", "role": "slave"},
		map[string]string{"redis_version": "7.2.4", "valkey_version": "8.1.0"})
	if got := id.String(); got != "valkey 8.1.0, replica" {
		t.Errorf("%q", got)
	}
}

func TestOptions(t *testing.T) {
	bad := (*redisio.ConfigError)(nil)
	if _, err := Examine(t.Context(), redistest.Shared(t).Client(t), Options{Prefix: "{a}"}); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	if _, err := Examine(t.Context(), nil, Options{}); err == nil {
		t.Error("no error without a client")
	}
}
