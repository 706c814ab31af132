package examples

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/reader"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

type wireSale struct {
	Total    float64 `json:"total"`
	Customer string  `json:"customer,omitempty"`
	Note     string  `json:"note,omitempty"`
}

// consumer returns the command of a member of a group.
func consumerCommand(t *testing.T, language, url, stream, group string) []string {
	t.Helper()
	return append(languages[language](t, "consumer"), url, stream, group, language)
}

// The programs are as short as promised.
func TestLanguagesAreShort(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"languages/*.py", "languages/*.mjs"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) != 2 {
			t.Fatal(files, err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if n := strings.Count(string(text), "\n"); err != nil || n >= 40 {
				t.Errorf("%s has %d lines, %v", name, n, err)
			}
		}
	}
}

// A Go source reads the entries of each producer, with type, ID, key and headers.
func TestLanguagesProduce(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	rdb := server.Client(t)
	for language, run := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			key := redistest.Key(t)
			p := runForeign(t, true, nil, `{"total":9.5,"customer":"ann"}`+"\n"+`{"total":1}`+"\n",
				append(run(t, "producer"), server.URL(), key)...)
			type seen struct {
				Value                 wireSale
				EntryID, Type, Key, H string
			}
			want := []seen{
				{wireSale{Total: 9.5, Customer: "ann"}, <-p.lines, "order", "ann", language},
				{wireSale{Total: 1}, <-p.lines, "order", "", language},
			}
			<-p.done
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit status %d", code)
			}
			ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
			defer cancel()
			ids := make(map[string]bool)
			in := operators.MapMessage(
				source.Stream(rdb, source.StreamConfig[wireSale]{Key: key, Group: "g"}),
				func(_ context.Context, m flow.Message[wireSale]) (seen, error) {
					header, _ := m.Headers().Get("source")
					ids[m.Meta().MessageID] = true
					return seen{m.Value, m.ID(), m.Type(), m.Key(), header}, nil
				},
			)
			var got []seen
			for v, err := range flow.Values(ctx, in) {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, v); len(got) == len(want) {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(ids) != 2 || ids[""] {
				t.Errorf("IDs of the messages: %v", ids)
			}
		})
	}
}

// A Go sink writes, and members in Go, Python and Node share the entries: each entry reaches one of
// them, and none is left.
func TestLanguagesShareAGroup(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	rdb, key := server.Client(t), redistest.Key(t)
	write := func(n int) {
		t.Helper()
		all := make([]wireSale, n)
		for i := range all {
			all[i] = wireSale{Total: 1, Customer: "ann"}
		}
		out := sink.Stream(rdb, sink.StreamConfig[wireSale]{Key: key})
		if err := flow.New("sales", flow.To(source.Of(all...), out)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	members := make(map[string]*foreigner)
	for language := range languages {
		members[language] = runForeign(t, true, nil, "", consumerCommand(t, language, server.URL(), key, "g")...)
	}
	ids, end := goMember(t, rdb, key, reader.Tuning{MaxCount: 2})
	written := 0
	redistest.Soon(t, "each member has a part", func() bool {
		if written < 5000 {
			write(25)
			written += 25
		}
		return len(ids) > 0 && len(members["python"].lines) > 0 && len(members["node"].lines) > 0
	})
	redistest.Soon(t, "all is acknowledged", func() bool {
		p, err := rdb.XInfoGroups(t.Context(), key).Result()
		return err == nil && p[0].Pending == 0 && p[0].Lag == 0
	})
	for language, m := range members {
		if code := m.ends(t, syscall.SIGTERM); code != 0 {
			t.Errorf("%s: exit status %d", language, code)
		}
	}
	end()
	close(ids)
	times := make(map[string]int)
	for id := range ids {
		times[id]++
	}
	for language, m := range members {
		for line := range m.lines {
			var said struct {
				ID, Key string
				Value   wireSale
			}
			if err := json.Unmarshal([]byte(line), &said); err != nil || said.Value.Customer != "ann" {
				t.Fatalf("%s: %s, %v", language, line, err)
			}
			times[said.ID]++
		}
	}
	entries, err := rdb.XRange(t.Context(), key, "-", "+").Result()
	if err != nil || len(entries) != written || len(times) != written {
		t.Fatalf("%d entries of %d, %d handled, %v", len(entries), written, len(times), err)
	}
	for _, e := range entries {
		if times[e.ID] != 1 {
			t.Errorf("%s was handled %d times", e.ID, times[e.ID])
		}
	}
}

// entryID is the ID of a message's entry.
func wireEntryID(_ context.Context, m flow.Message[wireSale]) (string, error) { return m.ID(), nil }

// goMember starts a member of the group g. It sends the IDs of what it handles.
func goMember(t *testing.T, rdb redis.UniversalClient, key string, how reader.Tuning) (ids chan string, end func()) {
	t.Helper()
	ids = make(chan string, 10_000)
	in := source.Stream(rdb, source.StreamConfig[wireSale]{Key: key, Group: "g", Tuning: how})
	out := sink.Func(func(_ context.Context, id string) error {
		ids <- id
		return nil
	})
	run, err := flow.New("member", flow.To(operators.MapMessage(in, wireEntryID), out)).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if _, err := run.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return ids, end
}

// A member is killed in the middle of its work. A member in another language takes over everything
// that it had.
func TestLanguagesTakeOver(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	rdb := server.Client(t)
	env := []string{"LEASE_MS=300", "REDIS_URL=" + server.URL()}
	for _, c := range []struct{ victim, heir string }{
		{"python", "go"}, {"node", "go"}, {"go", "python"}, {"go", "node"},
	} {
		t.Run(c.victim+" to "+c.heir, func(t *testing.T) {
			t.Parallel()
			key := strings.ReplaceAll(redistest.Key(t), " ", "_")
			want := make([]string, 5)
			for i := range want {
				text, err := json.Marshal(
					wireSale{Total: float64(i), Note: strings.Repeat("x", 200_000)},
				) // a pipe holds less
				if err == nil {
					want[i], err = rdb.XAdd(t.Context(), redistest.Entry(key, "data", string(text))).Result()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			var victim *foreigner
			if c.victim == "go" {
				dir, err := built()
				if err != nil {
					t.Fatal(err)
				}
				victim = runForeign(
					t,
					false,
					env,
					"",
					filepath.Join(dir, "read"),
					"-stream",
					key,
					"-group",
					"g",
					"-from",
					"0",
				)
			} else {
				victim = runForeign(t, false, env, "", consumerCommand(t, c.victim, server.URL(), key, "g")...)
			}
			redistest.Soon(t, "it has all entries, and prints one", func() bool {
				p, err := rdb.XPending(t.Context(), key, "g").Result()
				return err == nil && p.Count == int64(len(want))
			})
			victim.ends(t, syscall.SIGKILL)
			got := make(map[string]bool)
			var next func() string
			if c.heir == "go" {
				ids, _ := goMember(t, rdb, key, reader.Tuning{Lease: 300 * time.Millisecond})
				next = func() string { return <-ids }
			} else {
				heir := runForeign(t, true, env, "", consumerCommand(t, c.heir, server.URL(), key, "g")...)
				next = func() string {
					var said struct{ ID string }
					if err := json.Unmarshal([]byte(<-heir.lines), &said); err != nil {
						t.Fatal(err)
					}
					return said.ID
				}
			}
			for len(got) < len(want) {
				got[next()] = true
			}
			for _, id := range want {
				if !got[id] {
					t.Errorf("%s was not handled", id)
				}
			}
			redistest.Soon(t, "all is acknowledged", func() bool {
				p, err := rdb.XPending(t.Context(), key, "g").Result()
				return err == nil && p.Count == 0
			})
		})
	}
}

// Entries that can't be decoded, and those that fail too often, become dead letters, which package
// dead reads and replays with their exact fields.
func TestLanguagesBury(t *testing.T) {
	t.Parallel()
	server := redistest.Shared(t)
	rdb := server.Client(t)
	for language := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			key, ctx := redistest.Key(t), t.Context()
			add := func(fields ...string) string {
				t.Helper()
				id, err := rdb.XAdd(ctx, redistest.Entry(key, fields...)).Result()
				if err != nil {
					t.Fatal(err)
				}
				return id
			}
			trimmed := add("data", `{"total":5}`) // read by an earlier life of the member, and then deleted
			if err := rdb.XGroupCreate(ctx, key, "g", "0").Err(); err != nil {
				t.Fatal(err)
			}
			if err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
				Group: "g", Consumer: language, Streams: []string{key, ">"}, Count: 1,
			}).Err(); err != nil {
				t.Fatal(err)
			}
			if err := rdb.XDel(ctx, key, trimmed).Err(); err != nil {
				t.Fatal(err)
			}
			broken := add("data", "{", "h:tag", "a", "h:tag", "b")
			failing := add("data", `{"total":-1}`, "key", "ann")
			good := add("data", `{"total":1}`)
			member := runForeign(t, true, []string{"LEASE_MS=100", "MAX_DELIVERIES=3"}, "",
				consumerCommand(t, language, server.URL(), key, "g")...)
			if line := <-member.lines; !strings.Contains(line, good) {
				t.Errorf("it handled %s", line)
			}
			redistest.Soon(t, "both are dead", func() bool {
				p, err := rdb.XPending(ctx, key, "g").Result()
				return err == nil && p.Count == 0
			})
			if code := member.ends(t, syscall.SIGINT); code != 0 {
				t.Errorf("exit status %d", code)
			}
			letters := make(map[string]dead.Entry)
			for d, err := range dead.All(ctx, rdb, key+":dead", dead.Filter{Group: "g", Key: key}) {
				if err != nil {
					t.Fatal(err)
				}
				letters[d.Reason.ID] = d
			}
			for id, want := range map[string]struct {
				attempts int64
				fields   redisio.Fields
			}{
				broken: {1, redisio.Fields{{Name: "data", Value: []byte("{")}, {Name: "h:tag", Value: []byte("a")},
					{Name: "h:tag", Value: []byte("b")}}},
				failing: {3, redisio.Fields{{Name: "data", Value: []byte(`{"total":-1}`)}, {Name: "key", Value: []byte("ann")}}},
			} {
				d := letters[id]
				if r := d.Reason; r.Attempts != want.attempts || r.Error == "" || r.Time.IsZero() {
					t.Errorf("%s: %+v", id, r)
				}
				if diff := cmp.Diff(want.fields, d.Original); diff != "" {
					t.Errorf("%s (-want +got):\n%s", id, diff)
				}
			}
			if len(letters) != 2 {
				t.Errorf("%d dead letters", len(letters))
			}
			report, err := dead.Replay(ctx, rdb, key+":dead", dead.Filter{}, dead.ReplayOptions{})
			if err != nil || report.Replayed != 2 {
				t.Errorf("%+v, %v", report, err)
			}
			back, err := rdb.Do(ctx, "xrevrange", key, "+", "-", "count", 1).Slice()
			if err != nil {
				t.Fatal(err)
			}
			fields := back[0].([]any)[1]
			if diff := cmp.Diff([]any{"data", `{"total":-1}`, "key", "ann"}, fields); diff != "" {
				t.Errorf("replayed (-want +got):\n%s", diff)
			}
		})
	}
}
