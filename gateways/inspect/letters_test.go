package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/flow"
	"github.com/streamerson/streamerson-go/gateways/parts"
	"github.com/streamerson/streamerson-go/operators"
	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/dead"
	"github.com/streamerson/streamerson-go/redisio/redistest"
	"github.com/streamerson/streamerson-go/sink"
	"github.com/streamerson/streamerson-go/source"
)

// bury writes a dead letter.
func bury(t *testing.T, rdb redis.UniversalClient, key string, fields redisio.Fields, r dead.Reason) string {
	t.Helper()
	args := []any{"xadd", key, "*"}
	for _, f := range append(fields[:len(fields):len(fields)], r.Fields()...) {
		args = append(args, f.Name, f.Value)
	}
	id, err := rdb.Do(t.Context(), args...).Text()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func field(name, value string) redisio.Field { return redisio.Field{Name: name, Value: []byte(value)} }

// ask gets JSON of a page.
func ask[T any](t *testing.T, p *Page, path string, query ...string) (v T, status int) {
	t.Helper()
	q := url.Values{}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", "/inspect/"+path+"?"+q.Encode(), nil))
	if w.Code != 200 {
		return v, w.Code
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v in %.300s", path, err, w.Body)
	}
	return v, w.Code
}

// fieldsOf returns the fields of the only entry of a stream.
func fieldsOf(t *testing.T, rdb redis.UniversalClient, key string) redisio.Fields {
	t.Helper()
	var all []redisio.Fields
	for d, err := range dead.All(t.Context(), rdb, key, dead.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d.Fields)
	}
	if len(all) != 1 {
		t.Fatalf("%d entries in %q", len(all), key)
	}
	return all[0]
}

// A graph names its stream of dead letters, the page lists what dies in it, and an action returns it.
func TestDeadLettersOfAGraph(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	src := source.Stream(rdb, source.StreamConfig[string]{Key: key, Group: "shop", Start: redisio.StartBeginning()})
	fail := operators.Map(src, func(_ context.Context, s string) (string, error) {
		return s, flow.Reject(fmt.Errorf("price of %q: %w", "tea", errors.New("no such price")))
	}, flow.Name("price"))
	show := parts.New()
	started(t, show, flow.New("billing", flow.To(fail, sink.Discard[string]()), silent))
	entry := &redis.XAddArgs{Stream: key, Values: []string{"data", "secret"}}
	if err := rdb.XAdd(t.Context(), entry).Err(); err != nil {
		t.Fatal(err)
	}
	p := New(rdb, show, Config{})
	redistest.Soon(t, "the page counts it", func() bool {
		s := looks(p, "billing")
		return len(s.Dead) == 1 && s.Dead[0].Count == 1 && s.Dead[0].Key == key+":dead" &&
			s.Dead[0].Graphs[0] == "billing" &&
			s.Graph.Sources[0].DeadKey == key+":dead"
	})
	page, _ := ask[letterPage](t, p, "letters", "key", key+":dead")
	row := page.Letters[0]
	if row.Error != `rejected: price of "tea": no such price` || row.Stage != "price" || row.Graph != "billing" ||
		row.From != key ||
		row.Attempts != 1 || row.Group != "shop" || row.Fields != 1 ||
		time.Since(row.Died) > time.Hour {
		t.Errorf("the row: %+v", row)
	}
	l, _ := ask[letterView](t, p, "letter", "key", key+":dead", "id", row.ID)
	if len(l.Causes) != 2 || l.Values[0].Name != "data" || l.Values[0].Bytes != 6 || l.Values[0].Text != "" ||
		!strings.Contains(l.Hidden, "Config.ShowPayloads") {
		t.Errorf("the letter: %+v", l)
	}
	for path, want := range map[string]int{"letters": 404, "letter": 404, "value": 404} {
		if _, status := ask[letterPage](t, p, path, "key", "another", "id", row.ID); status != want {
			t.Errorf("%s of a foreign stream: %d", path, status)
		}
	}
	if _, status := ask[letterView](t, p, "value", "key", key+":dead", "id", row.ID, "field", "0"); status != 403 {
		t.Errorf("its payload: %d", status)
	}
	if _, status := ask[letterView](t, p, "letter", "key", key+":dead", "id", row.ID, "whole", "1"); status != 403 {
		t.Errorf("its payload to edit: %d", status)
	}
}

// Dead letters are listed page by page, the newest first, and no ID is lost between two pages.
func TestPagesOfLetters(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	want := make([]string, 2*pageOfLetters+1)
	for i := range want {
		want[len(want)-1-i] = bury(t, rdb, key, redisio.Fields{field("n", fmt.Sprint(i))}, dead.Reason{})
	}
	p := New(rdb, nil, Config{DeadKeys: []string{key}})
	var got []string
	pages, before := 0, ""
	for more := true; more; pages++ {
		page, _ := ask[letterPage](t, p, "letters", "key", key, "before", before)
		for _, l := range page.Letters {
			got = append(got, l.ID)
		}
		before, more = page.Older, page.Older != ""
	}
	if d := cmp.Diff(want, got); d != "" || pages != 3 {
		t.Errorf("%d pages (-want +got):\n%s", pages, d)
	}
	for query, want := range map[string]int{"x": 400, "0-0": 200} {
		if _, status := ask[letterPage](t, p, "letters", "key", key, "before", query); status != want {
			t.Errorf("before %s: %d", query, status)
		}
	}
}

// A payload is shown in part, can be downloaded as it is, and each look is logged without it.
func TestPayloads(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	var log lines
	cfg := acting(log.logger())
	cfg.DeadKeys = []string{key}
	p := New(rdb, nil, cfg)
	large := strings.Repeat("ä", 512<<10)
	fields := redisio.Fields{
		field("text", "<b>geheim</b>\r\n"), field("binary", "\xff\x00\x01"), field("large", large), field("\xfe", "x"),
		field("bidi", "a\u202eb"),
	}
	id := bury(t, rdb, key, fields, dead.Reason{Error: "x", Key: "orders"})
	l, _ := ask[letterView](t, p, "letter", "key", key, "id", id)
	v := l.Values
	if l.Hidden != "" || v[0].Text != "<b>geheim</b>\r\n" || !bytes.Equal(v[1].Base64, fields[1].Value) ||
		!v[2].Cut || v[2].Bytes != 1<<20 || len(v[2].Text) != maxValue || v[3].Name != "\ufffd" {
		t.Errorf("the letter: %.500v", l)
	}
	for i, f := range fields {
		w := httptest.NewRecorder()
		path := fmt.Sprintf("/value?key=%s&id=%s&field=%d", url.QueryEscape(key), id, i)
		p.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if got, _ := io.ReadAll(w.Result().Body); !bytes.Equal(got, f.Value) ||
			w.Header().Get("Content-Disposition") != fmt.Sprintf(`attachment; filename="%s-%d.bin"`, id, i) ||
			w.Header().
				Get("Content-Type") !=
				"application/octet-stream" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("field %d: %d bytes, %v", i, len(got), w.Header())
		}
	}
	all, _ := ask[[]filedField](t, p, "value", "key", key, "id", id)
	if len(all) != 5 || all[2].Value != large || !bytes.Equal(all[3].NameBase64, []byte("\xfe")) {
		t.Errorf("all fields: %.300v", all)
	}
	whole, _ := ask[letterView](t, p, "letter", "key", key, "id", id, "whole", "1")
	for i, f := range fields { // \r would be lost in a browser's text field, and bidi characters mislead
		asText := i == 2 || i == 3
		if got := whole.Values[i]; asText && got.Text != string(f.Value) ||
			!asText && !bytes.Equal(got.Base64, f.Value) {
			t.Errorf("field %d to edit: %.100v", i, got)
		}
	}
	for _, q := range [][]string{{"id", id, "field", "5"}, {"id", id, "field", "-1"}, {"id", "1-1", "field", "0"}} {
		if _, status := ask[letterView](t, p, "value", append(q, "key", key)...); status != 404 {
			t.Errorf("%v: %d", q, status)
		}
	}
	got := log.String()
	if strings.Contains(got, "geheim") || strings.Count(got, "who=anne do=view key="+key+" ids="+id) != 8 {
		t.Errorf("the log:\n%s", got)
	}
	cfg.ShowPayloads = false
	if l, _ := ask[letterView](t, New(rdb, nil, cfg), "letter", "key", key, "id", id); l.Values[0].Text != "" ||
		!strings.Contains(l.Hidden, "Config.ShowPayloads") {
		t.Errorf("hidden payloads: %+v", l.Hidden)
	}
}

// change sends an action on dead letters.
func change(t *testing.T, p *Page, verb, key, more string, ids ...string) outcome {
	t.Helper()
	list, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	status, o := send(t, p, fmt.Sprintf(`{"do":%q,"key":%q,"ids":%s%s}`, verb, key, list, more))
	if status != 200 {
		t.Fatalf("%s: %d %+v", verb, status, o)
	}
	return o
}

func TestReplayEditDrop(t *testing.T) {
	rdb, key := redistest.Shared(t).Client(t), redistest.Key(t)
	var log lines
	cfg := acting(log.logger())
	cfg.DeadKeys = []string{key}
	p := New(rdb, nil, cfg)
	fields := redisio.Fields{field("data", "ten"), field("raw", "\xff\x00\r\n"), field("old", "x")}
	letter := func(to string) string { return bury(t, rdb, key, fields, dead.Reason{Error: "x", Key: to}) }
	act := func(verb, more string, ids ...string) outcome { return change(t, p, verb, key, more, ids...) }
	check := func(got outcome, ok bool, text string, all ...string) {
		t.Helper()
		if got.OK != ok || got.Text != text || strings.Join(got.Lines, "\n") != strings.Join(all, "\n") {
			t.Errorf("got %+v, want %v %s %q", got, ok, text, all)
		}
	}
	const gone = "1 was gone: replayed or dropped meanwhile."
	to := key + ":replayed"
	id := letter(to)
	check(act("replay", "", id, id), true, "1 dead letter replayed to "+to+".")
	if d := cmp.Diff(fields, fieldsOf(t, rdb, to)); d != "" {
		t.Errorf("replayed (-want +got):\n%s", d)
	}
	check(act("replay", "", id), false, "0 dead letters replayed.", gone)

	to = key + ":edited"
	id = letter(to)
	values := `,"values":[{"of":0,"text":"10\n<b>"},{"of":1},{"name":"new","base64":"/wA="}]`
	check(act("edit", values, id), true, "1 dead letter replayed to "+to+".")
	want := redisio.Fields{field("data", "10\n<b>"), fields[1], field("new", "\xff\x00")}
	if d := cmp.Diff(want, fieldsOf(t, rdb, to)); d != "" {
		t.Errorf("edited (-want +got):\n%s", d)
	}
	check(act("edit", values, id), false, "Nothing was changed.", gone)
	id = letter("")
	for values, why := range map[string]string{
		"": "an entry needs at least one field", `,"values":[{"of":9}]`: "it has no field 9",
		`,"values":[{"name":"n"}]`:                        `the new field "n" has no value`,
		`,"values":[{"of":0,"text":"","base64":""}]`:      `the field "data" has a text and base64: use one`,
		`,"values":[{"name":"dead:error","text":"mine"}]`: "names that begin with dead: are reserved",
	} {
		check(act("edit", values, id), false, "Nothing was changed: "+why)
	}
	check(act("edit", `,"values":[{"of":0}]`, id), false, "0 dead letters replayed.",
		"1 does not name a stream: open it, and name the stream to write to.")
	check(act("replay", `,"to":"`+key+`:named"`, id), true, "1 dead letter replayed to "+key+":named.")

	ids := []string{letter(to), letter(to), "1-1"}
	check(act("drop", "", ids...), false, "2 dead letters dropped.", gone)
	if n := rdb.XLen(t.Context(), key).Val(); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	wrong := key + ":wrong"
	rdb.Set(t.Context(), wrong, "no stream", 0)
	if o := act("replay", "", letter(wrong)); o.OK || !strings.Contains(o.Lines[0], "WRONGTYPE") {
		t.Errorf("a target that is no stream: %+v", o)
	}
	if got := log.String(); strings.Contains(got, "<b>") ||
		!strings.Contains(
			got,
			"who=anne do=drop key="+key+` ids=`+strings.Join(ids, ",")+` result="2 dead letters dropped.; `+gone,
		) {
		t.Errorf("the log:\n%s", got)
	}
}

// With the rights of Access and nothing else, the page lists, replays, edits and drops dead letters.
func TestAccessToDeadLetters(t *testing.T) {
	srv := redistest.Start(t)
	root := srv.Client(t)
	cfg := acting(silentLog)
	cfg.DeadKeys = []string{"orders:dead"}
	rules := append(cfg.Access("orders").Rules(), "on", ">secret")
	if err := root.ACLSetUser(t.Context(), "page", rules...).Err(); err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{
		Addr: srv.Addr(), Username: "page", Password: "secret", DisableIdentity: true, MaxRetries: -1,
	})
	defer rdb.Close()
	p := New(rdb, nil, cfg)
	for _, verb := range []string{"replay", "drop", "edit"} {
		retried(t, verb, func() error { // a busy machine may need longer than the client waits
			if err := root.Del(t.Context(), "orders:dead").Err(); err != nil {
				return err
			}
			id := bury(t, root, "orders:dead", redisio.Fields{field("n", "1")}, dead.Reason{Error: "x", Key: "orders"})
			page, status := ask[letterPage](t, p, "letters", "key", "orders:dead")
			if status != 200 || len(page.Letters) != 1 {
				return fmt.Errorf("the list: %d, %+v", status, page)
			}
			body := fmt.Sprintf(`{"do":%q,"key":"orders:dead","ids":[%q]`, verb, id)
			if verb == "edit" {
				body += `,"values":[{"of":0,"text":"2"}]`
			}
			if _, o := send(t, p, body+"}"); !o.OK {
				return fmt.Errorf("%+v", o)
			}
			return nil
		})
	}
	retried(t, "Redis counts the dead letters", func() error {
		if s := seen(t, p, ""); s.Dead[0].Error != "" {
			return errors.New(s.Dead[0].Error)
		}
		return nil
	})
	retried(t, "commands are taken", func() error {
		all, err := p.shared.take(t.Context())
		if len(all) > 0 {
			t.Errorf("commands: %+v", all)
		}
		return err
	})
	if a := p.shared.ask(t.Context(), command{}, nil); len(a) != 0 {
		t.Errorf("asked: %+v", a)
	}
}
