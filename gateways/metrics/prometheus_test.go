package metrics_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// server is a real Prometheus.
type server struct {
	url   string
	out   strings.Builder // owned by the process until it has ended
	ended chan error
}

// startPrometheus starts a Prometheus that scrapes an address and loads the alerts.
func startPrometheus(t *testing.T, target string) *server {
	t.Helper()
	alerts, err := filepath.Abs("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"+
		"rule_files: [%q]\nscrape_configs:\n- job_name: program\n  static_configs: [{targets: [%q]}]\n", alerts, target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		s := launch(t, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--log.level=warn")
		ready := false
		redistest.Soon(t, "Prometheus is ready, or has ended", func() bool {
			ready = s.get(t, "/api/v1/status/buildinfo", new(any))
			return ready || len(s.ended) > 0
		})
		if ready {
			return s
		}
	}
	t.Fatal("Prometheus does not start")
	return nil
}

// launch starts a Prometheus on a port that is free for now. It ends if another process takes the port first.
func launch(t *testing.T, args ...string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := &server{url: "http://" + addr, ended: make(chan error, 1)}
	cmd := tool(t, "prometheus", append(args, "--web.listen-address="+addr)...)
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := <-s.ended; err != nil && t.Failed() {
			t.Logf("prometheus: %v\n%s", err, s.out.String())
		}
	})
	return s
}

// get decodes the data of an answer of the API. It reports false if there is no data yet.
func (s *server) get(t *testing.T, path string, into any) bool {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	r, err := c.Get(s.url + path)
	if err != nil {
		return false
	}
	defer r.Body.Close()
	answer := struct {
		Status string
		Data   any
	}{Data: into}
	if json.NewDecoder(r.Body).Decode(&answer) != nil {
		return false
	}
	return answer.Status == "success"
}

// value returns the value of a query with one result, or "".
func (s *server) value(t *testing.T, query string) string {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if !s.get(t, "/api/v1/query?query="+url.QueryEscape(query), &data) || len(data.Result) != 1 {
		return ""
	}
	v, _ := data.Result[0].Value[1].(string)
	return v
}

// A real Prometheus scrapes a program, knows its numbers, and has loaded the alerts.
func TestRealPrometheus(t *testing.T) {
	e := expose(t)
	s := program(t, e)
	web := httptest.NewServer(e)
	t.Cleanup(web.Close)
	prom := startPrometheus(t, web.Listener.Addr().String())
	for query, want := range map[string]string{
		`up{job="program"}`: "1",
		`sum by (graph) (streamerson_source_settled_entries_total{graph="shout",outcome="acked"})`: "3",
		`streamerson_service_requests_total{outcome="answered"}`:                                   "2",
		`streamerson_client_call_duration_seconds_count{topic="` + s.Topic + `",kind="call"}`:      "2",
		`streamerson_http_requests_total{outcome="answered"}`:                                      "1",
		`streamerson_graph_ready{graph="shout"}`:                                                   "1",
	} {
		redistest.Soon(t, query+" is "+want, func() bool { return prom.value(t, query) == want })
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct{ Name, Health, State string }
		}
	}
	defer func() {
		if t.Failed() {
			t.Logf("the rules: %+v", rules)
		}
	}()
	redistest.Soon(t, "all rules are evaluated, and none is pending", func() bool { // one may be, after a slow scrape
		if !prom.get(t, "/api/v1/rules", &rules) || len(rules.Groups) != 1 {
			return false
		}
		for _, r := range rules.Groups[0].Rules {
			if r.Health != "ok" || r.State != "inactive" {
				return false
			}
		}
		return len(rules.Groups[0].Rules) > 0
	})
}
