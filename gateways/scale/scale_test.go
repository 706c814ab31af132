package scale_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tidwall/gjson"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/scale"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// rig is a stream of its own and a handler for its group.
type rig struct {
	rdb *redis.Client
	key string
	h   *scale.Handler
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{rdb: redistest.Shared(t).Client(t), key: redistest.Key(t)}
	r.h = r.handler(t, r.rdb, scale.Config{Timeout: redistest.Patience})
	return r
}

func (r *rig) handler(t *testing.T, rdb redis.UniversalClient, cfg scale.Config) *scale.Handler {
	t.Helper()
	cfg.Targets = map[string][]scale.Stream{"billing": {{Key: r.key, Group: "g"}}}
	h := scale.New(rdb, cfg)
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (r *rig) add(t *testing.T, id string, n int) {
	t.Helper()
	pipe := r.rdb.Pipeline()
	for range n {
		e := redistest.Entry(r.key, "data", "x")
		e.ID = id
		pipe.XAdd(t.Context(), e)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) ask(t *testing.T) scale.StreamBacklog {
	t.Helper()
	b, err := r.h.Ask(t.Context(), "billing")
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Streams) != 1 || b.Seconds != b.Streams[0].Seconds {
		t.Fatalf("backlog %+v", b)
	}
	return b.Streams[0]
}

// rate keeps a rate, as an earlier question would have.
func (r *rig) rate(t *testing.T, perSecond float64) {
	t.Helper()
	key := redisio.Beside(r.key, ":scale:g")
	err := r.rdb.HSet(t.Context(), key, "at", time.Now().Add(-time.Hour).UnixMilli(), "settled", 0, "waits", 1,
		"rate", perSecond).Err()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) group(t *testing.T) {
	t.Helper()
	if err := r.rdb.XGroupCreateMkStream(t.Context(), r.key, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
}

func ago(d time.Duration) string { return fmt.Sprintf("%d-*", time.Now().Add(-d).UnixMilli()) }

// Without replicas, all comes from Redis: the age, and the rate of the replicas before.
func TestZeroReplicas(t *testing.T) {
	t.Run("no stream", func(t *testing.T) {
		if b := newRig(t).ask(t); b.Seconds != 0 || b.Missing != "stream" {
			t.Errorf("%+v", b)
		}
	})
	t.Run("no group", func(t *testing.T) {
		r := newRig(t)
		r.add(t, ago(time.Minute), 3)
		if b := r.ask(t); b.Seconds < 60 || b.Seconds > 600 || b.Missing != "group" || b.Lag != 3 {
			t.Errorf("%+v", b)
		}
	})
	t.Run("nothing to do", func(t *testing.T) {
		r := newRig(t)
		r.group(t)
		r.rate(t, 10)
		if b := r.ask(t); b.Seconds != 0 || b.Lag != 0 {
			t.Errorf("%+v", b)
		}
	})
	t.Run("the age", func(t *testing.T) {
		r := newRig(t)
		r.group(t)
		r.add(t, ago(time.Minute), 3)
		if b := r.ask(t); b.Seconds < 60 || b.Seconds > 600 || b.Lag != 3 || b.Rate != 0 {
			t.Errorf("%+v", b)
		}
	})
	t.Run("the rate of earlier replicas", func(t *testing.T) {
		r := newRig(t)
		r.group(t)
		r.add(t, ago(0), 5000)
		r.rate(t, 10)
		for range 3 { // it does not fade while nothing runs
			if b := r.ask(t); b.Seconds != 500 || b.Rate != 10 {
				t.Errorf("%+v", b)
			}
		}
		if ttl := r.rdb.PTTL(t.Context(), redisio.Beside(r.key, ":scale:g")).Val(); ttl <= 0 {
			t.Errorf("the rate does not expire: %v", ttl)
		}
	})
	t.Run("at most Max", func(t *testing.T) {
		r := newRig(t)
		r.group(t)
		r.add(t, ago(3*time.Hour), 5)
		if b := r.ask(t); b.Seconds != 3600 {
			t.Errorf("%+v", b)
		}
	})
}

// An entry that fails for hours does not scale to the maximum, at any number of replicas.
func TestPoisonedEntry(t *testing.T) {
	r := newRig(t)
	r.group(t)
	r.add(t, ago(5*time.Hour), 1)
	read := redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{r.key, ">"}, Count: 10}
	if err := r.rdb.XReadGroup(t.Context(), &read).Err(); err != nil {
		t.Fatal(err)
	}
	if b := r.ask(t); b.Seconds != 1 || b.Pending != 1 || b.Lag != 0 {
		t.Errorf("without a rate: %+v", b)
	}
	r.rate(t, 20)
	if b := r.ask(t); b.Seconds != 0.05 {
		t.Errorf("with a rate: %+v", b)
	}
}

// After deletions Redis does not know the lag.
func TestUnknownLag(t *testing.T) {
	r := newRig(t)
	r.group(t)
	r.add(t, ago(time.Minute), 100)
	all := r.rdb.XRange(t.Context(), r.key, "-", "+").Val()
	if err := r.rdb.XDel(t.Context(), r.key, all[50].ID).Err(); err != nil {
		t.Fatal(err)
	}
	r.rate(t, 0.5)
	if b := r.ask(t); b.Seconds != 198 || b.Lag != 99 {
		t.Errorf("%+v", b)
	}
}

// The rate is learned from what a group settles between two questions.
func TestRateIsLearned(t *testing.T) {
	r := newRig(t)
	r.group(t)
	r.add(t, ago(0), 1000)
	r.ask(t)
	key := redisio.Beside(r.key, ":scale:g")
	if at := r.rdb.HGet(t.Context(), key, "at").Val(); at == "" {
		t.Fatal("nothing is kept")
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	in := source.Stream(r.rdb, source.StreamConfig[string]{Key: r.key, Group: "g"})
	run, err := flow.New("billing", flow.To(in, sink.Discard[string]())).Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	redistest.Soon(t, "all are settled", func() bool {
		g := r.rdb.XInfoGroups(t.Context(), r.key).Val()
		return len(g) == 1 && g[0].Lag == 0 && g[0].Pending == 0
	})
	stop()
	if err := run.Wait(); err != nil {
		t.Fatal(err)
	}
	// As if the first question had been 10 seconds ago.
	if err := r.rdb.HSet(t.Context(), key, "at", time.Now().Add(-10*time.Second).UnixMilli()).Err(); err != nil {
		t.Fatal(err)
	}
	if b := r.ask(t); b.Rate < 50 || b.Rate > 101 || b.Seconds != 0 {
		t.Errorf("1000 entries within about 10 seconds: %+v", b)
	}
	r.add(t, ago(0), 2000)
	if b := r.ask(t); b.Seconds < 19 || b.Seconds > 41 {
		t.Errorf("2000 entries at about 100 a second: %+v", b)
	}
}

func (r *rig) get(t *testing.T, h http.Handler, target string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w.Code, w.Body.String()
}

func TestHTTP(t *testing.T) {
	r := newRig(t)
	for target, want := range map[string]int{"/scale": 200, "/scale?target=billing": 200, "/scale?target=other": 404} {
		if code, body := r.get(t, r.h, target); code != want || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s, want %d", target, code, body, want)
		}
	}
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/scale", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	r.rdb.Set(t.Context(), r.key, "no stream", 0)
	if code, body := r.get(t, r.h, "/scale"); code != http.StatusServiceUnavailable {
		t.Errorf("a key of another type: %d %s", code, body)
	}
}

// While Redis hangs, each answer comes in time, and questions do not pile up.
func TestRedisHangs(t *testing.T) {
	r := newRig(t)
	proxy := redistest.StartProxy(t, redistest.Shared(t).Addr())
	h := r.handler(t, proxy.Client(t), scale.Config{Timeout: 200 * time.Millisecond})
	redistest.Soon(t, "it answers in time", func() bool { code, _ := r.get(t, h, "/scale"); return code == 200 })
	proxy.Hang(true)
	if code, body := r.get(t, h, "/scale"); code != http.StatusServiceUnavailable {
		t.Errorf("while Redis hangs: %d %s", code, body)
	}
	proxy.Hang(false)
	redistest.Soon(t, "it answers again", func() bool { code, _ := r.get(t, h, "/scale"); return code == 200 })
}

func TestMistakes(t *testing.T) {
	h := scale.New(nil, scale.Config{Max: -1, Targets: map[string][]scale.Stream{"a": nil, "b": {{Key: "k"}}}})
	err := h.Validate()
	for _, part := range []string{"client", "Max", `Targets["a"]`, `Targets["b"]`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v lacks %s", err, part)
		}
	}
	var mistake *redisio.ConfigError
	if !errors.As(err, &mistake) {
		t.Errorf("%v is no ConfigError", err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?target=a", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The handler answers what the example of a ScaledObject asks for.
func TestScaledObject(t *testing.T) {
	text, err := os.ReadFile("scaledobject.yaml")
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string) string {
		m := regexp.MustCompile(`(?m)^ *(?:- )?` + name + `: *"?([^"#\n]+?)"? *(?:#.*)?$`).
			FindStringSubmatch(string(text))
		if m == nil {
			t.Fatalf("scaledobject.yaml lacks %s", name)
		}
		return m[1]
	}
	if field("kind") != "ScaledObject" || field("type") != "metrics-api" || field("metricType") != "Value" {
		t.Errorf("kind %s, type %s, metricType %s", field("kind"), field("type"), field("metricType"))
	}
	for _, name := range []string{"targetValue", "activationTargetValue", "minReplicaCount", "maxReplicaCount"} {
		if _, err := strconv.ParseFloat(field(name), 64); err != nil {
			t.Error(err)
		}
	}
	u, err := url.Parse(field("url"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	code, body := r.get(t, r.h, u.RequestURI())
	if code != http.StatusOK { // KEDA takes no other
		t.Fatalf("%d %s", code, body)
	}
	seconds, activates := keda(t, body, field("valueLocation"), field("activationTargetValue"))
	if seconds != 0 || activates {
		t.Errorf("without a backlog KEDA reads %v, which starts a replica: %t", seconds, activates)
	}
	r.add(t, ago(time.Minute), 3)
	_, body = r.get(t, r.h, u.RequestURI())
	if seconds, activates = keda(t, body, field("valueLocation"), field("activationTargetValue")); !activates {
		t.Errorf("with a backlog KEDA reads %v from %s, which starts no replica", seconds, body)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), field("url")) {
		t.Error("the documentation has another URL")
	}
}

// keda reads an answer as KEDA does: metrics_api_scaler.go, getValueFromJSONResponse and
// GetMetricsAndActivity. KEDA itself would bring two hundred modules.
func keda(t *testing.T, body, location, activation string) (value float64, activates bool) {
	t.Helper()
	at := gjson.Get(body, location)
	if at.Type != gjson.Number {
		t.Fatalf("%s has no number at %s", body, location)
	}
	target, err := strconv.ParseFloat(activation, 64)
	if err != nil {
		t.Fatal(err)
	}
	return at.Num, at.Num > target
}

func ExampleNew() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer rdb.Close()
	h := scale.New(rdb, scale.Config{Targets: map[string][]scale.Stream{
		"billing": {{Key: "orders", Group: "billing"}},
	}})
	mux := http.NewServeMux()
	mux.Handle("GET /scale", h)
	fmt.Println(h.Validate())
	// Output: <nil>
}
