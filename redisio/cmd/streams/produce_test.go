package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// feed runs a command line with this standard input.
func (s *stand) feed(t *testing.T, ctx context.Context, in io.Reader, args ...string) (code int, out, errs string) {
	t.Helper()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "KEY", s.key)
	}
	var o, e bytes.Buffer
	code = run(ctx, args, stdio{in, &o, &e, func(string) string { return s.url }, cet})
	return code, strings.ReplaceAll(o.String(), s.key, "KEY"), strings.ReplaceAll(e.String(), s.key, "KEY")
}

// fields returns all entries of a stream, as name=value in order.
func (s *stand) fields(t *testing.T, key string) (all []string) {
	t.Helper()
	reply, err := s.rdb.Do(t.Context(), "xrange", key, "-", "+").Slice()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range reply {
		var parts []string
		pairs := e.([]any)[1].([]any)
		for i := 0; i < len(pairs); i += 2 {
			parts = append(parts, fmt.Sprintf("%s=%s", pairs[i], pairs[i+1]))
		}
		all = append(all, strings.Join(parts, " "))
	}
	return all
}

func TestProduce(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		in   string
		want []string
	}{
		"value":  {[]string{`{"sku":"tea"}`}, "", []string{`data={"sku":"tea"}`}},
		"values": {[]string{"a", "b"}, "", []string{"data=a", "data=b"}},
		"envelope": {
			[]string{"a", "-type", "placed", "-key", "c7", "-id", "m1", "-header", "x=1", "-header", "y=2=3"}, "",
			[]string{"data=a type=placed id=m1 key=c7 h:x=1 h:y=2=3"},
		},
		"fields":      {[]string{"-field", "b=1", "-field", "a=", "-field", "b=2"}, "", []string{"b=1 a= b=2"}},
		"repeated":    {[]string{"a", "b", "-n", "3"}, "", []string{"data=a", "data=b", "data=a"}},
		"rate":        {[]string{"a", "-n", "3", "-rate", "1000"}, "", []string{"data=a", "data=a", "data=a"}},
		"lines":       {nil, "a\r\n\nlast", []string{"data=a", "data=", "data=last"}},
		"lines typed": {[]string{"-type", "x"}, "a\n", []string{"data=a type=x"}},
		"few lines":   {[]string{"-n", "1"}, "a\nb\n", []string{"data=a"}},
		"no lines":    {nil, "", nil},
		"json": {
			[]string{"-input", "json"},
			`{"data":{"n": 1},"type":"t","key":"k","id":"m","headers":{"b":"2","a":"1"}}` + "\n\n" +
				`{"data":"te\"xt"}` + "\n" + `{"dataBase64":"AP8="}`,
			[]string{`data={"n": 1} type=t id=m key=k h:a=1 h:b=2`, `data=te"xt`, "data=\x00\xff"},
		},
		"json of tail": {
			[]string{"-input", "json"},
			`{"id":"1-1","deliveries":2,"fields":[{"name":"b","value":"1"},` +
				`{"name":"�","nameBase64":"/w==","base64":"AA=="}]}`,
			[]string{"b=1 \xff=\x00"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			code, out, errs := s.feed(
				t,
				t.Context(),
				strings.NewReader(c.in),
				append([]string{"produce", "KEY"}, c.args...)...)
			if code != exitFine || errs != "" || !strings.HasPrefix(out, fmt.Sprintf("wrote %d entr", len(c.want))) {
				t.Errorf("exit code %d\n%s%s", code, out, errs)
			}
			if diff := cmp.Diff(c.want, s.fields(t, s.key)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Lines that can not be written are named, and what was written is counted.
func TestProduceFails(t *testing.T) {
	s := newStand(t)
	for _, c := range []struct {
		key, in string
		want    []string
		args    []string
	}{
		{"KEY", `{"data":1}` + "\n{\n", []string{"wrote 1 entry, the last is", "line 2: unexpected EOF"}, nil},
		{"KEY", `{"sku":1}`, []string{"wrote 0 entries", `unknown field "sku"; leave -input out`}, nil},
		{"KEY", `{"data":1} {"data":2}`, []string{"more than one JSON value"}, nil},
		{"KEY", `{}`, []string{"neither data"}, nil},
		{"KEY", `{"data":1,"dataBase64":"AA=="}`, []string{"both data and dataBase64"}, nil},
		{"KEY", `{"fields":[]}`, []string{"no fields"}, nil},
		{"KEY", `{"fields":[{"name":"a","value":"1"}],"key":"k"}`, []string{"fields beside data"}, nil},
		{"KEY:text", `{"data":1}`, []string{"WRONGTYPE"}, nil},
	} {
		s.rdb.Set(t.Context(), s.key+":text", "x", 0)
		code, out, errs := s.feed(t, t.Context(), strings.NewReader(c.in), "produce", c.key, "-input", "json")
		for _, part := range c.want {
			if code != exitFailed || !strings.Contains(out+errs, part) {
				t.Errorf("%s: exit code %d, want %q in\n%s%s", c.in, code, part, out, errs)
			}
		}
	}
	for _, line := range []string{"produce KEY a -input xml", "produce KEY a -input json", "produce KEY a b -id x",
		"produce KEY a -n -1", "produce KEY a -rate -1", "produce KEY a -delay -1s",
		"produce KEY a -delay 1s -maxlen 5", "produce KEY a -maxlen -5", "produce KEY a -field x=1",
		"produce KEY -field x", "produce KEY -input json -type x"} {
		s.want(t, line, exitUsage)
	}
}

// A server that is full refuses: all entries of the first batch, which has one line or more, are
// counted as not written.
func TestProduceToAFullServer(t *testing.T) {
	server := redistest.Start(t, redistest.Args("--maxmemory", "500kb", "--maxmemory-policy", "noeviction"))
	s := &stand{rdb: server.Client(t), url: server.URL(), key: "orders"}
	code, out, errs := s.feed(t, t.Context(), strings.NewReader("a\nb\nc\n"), "produce", "KEY", "-json")
	n := strings.Count(out, `"outcome":"not written"`)
	want := map[int]string{
		1: "1 not written: line 1\n", 2: "2 not written: lines 1–2\n", 3: "3 not written: lines 1–3\n",
	}
	if code != exitFailed || n == 0 || !strings.Contains(out, fmt.Sprintf(`"at":%d,`, n)) ||
		!strings.Contains(errs, want[n]) || !strings.Contains(errs, "OOM") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// A lost reply leaves the outcome unknown, and nothing is sent again.
func TestProduceUnknown(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	s := &stand{rdb: server.Client(t), url: proxy.URL(), key: "orders"}
	in, w := io.Pipe()
	type result struct {
		code      int
		out, errs string
	}
	ended := make(chan result, 1)
	go func() {
		code, out, errs := s.feed(t, t.Context(), in, "produce", "KEY")
		ended <- result{code, out, errs}
	}()
	_, _ = io.WriteString(w, "a\n")
	for s.rdb.XLen(t.Context(), s.key).Val() == 0 && t.Context().Err() == nil {
	}
	proxy.Cut(redistest.CutReply, "xadd", 1)
	_, _ = io.WriteString(w, "b\n")
	r := <-ended
	_ = w.Close()
	if r.code != exitFailed || !strings.Contains(r.errs, "1 unknown: line 2.") ||
		!strings.HasPrefix(r.out, "wrote 1 entry, ") {
		t.Errorf("%+v", r)
	}
	if n := s.rdb.XLen(t.Context(), s.key).Val(); n != 2 {
		t.Errorf("%d entries", n)
	}
}

// Ctrl-C while it waits for input ends it, with what was written so far.
func TestProduceInterrupted(t *testing.T) {
	s := newStand(t)
	in, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = io.WriteString(w, "a\n")
		for s.rdb.XLen(t.Context(), s.key).Val() == 0 && t.Context().Err() == nil {
		}
		cancel()
	}()
	code, out, errs := s.feed(t, ctx, in, "produce", "KEY")
	_ = w.Close()
	if code != exitInterrupted || !strings.HasPrefix(out, "wrote 1 entry, ") || !strings.Contains(errs, "interrupted") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestProduceTrimsAndDelays(t *testing.T) {
	s := newStand(t)
	s.want(t, "produce KEY a -n 5000 -maxlen 100", exitFine)
	if n := s.rdb.XLen(t.Context(), s.key).Val(); n < 100 || n > 3000 {
		t.Errorf("%d entries are left", n)
	}
	s.want(t, "produce KEY:later a b -delay 1h -type reminder", exitFine)
	if n := s.rdb.Exists(t.Context(), s.key+":later").Val(); n != 0 {
		t.Error("written at once")
	}
	if out := s.want(t, "schedule list KEY:later", exitFine); strings.Count(out, " reminder ") != 2 {
		t.Errorf("%s", out)
	}
}

func TestSpans(t *testing.T) {
	many := make([]int64, 30)
	for i := range many {
		many[i] = int64(2 * i)
	}
	for want, at := range map[string][]int64{
		"line 4": {4}, "lines 1–3, 5": {1, 2, 3, 5}, "lines 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, …": many,
	} {
		if got := spans("line", at); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
