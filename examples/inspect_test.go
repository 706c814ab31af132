package examples

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

var inspectAt = regexp.MustCompile(`inspect wordcount at (http://\S+)`)

const inspectStays = "stays until Ctrl-C"

// The page of -inspect shows a newcomer what the graph does, and stays until the program is
// interrupted.
func TestWordcountInspect(t *testing.T) {
	t.Parallel()
	p := start(t, withPath(), nil, "wordcount", "-inspect", "-slow", "2ms")
	var url string
	redistest.Soon(t, "there are metrics", func() bool { // of a graph that runs, which this test may be too late for
		if strings.Contains(p.stderr.text(), inspectStays) {
			interrupted(t, p)
			p = start(t, withPath(), nil, "wordcount", "-inspect", "-slow", "2ms")
		}
		m := inspectAt.FindStringSubmatch(p.stderr.text())
		if m == nil {
			return false
		}
		url = m[1]
		text := read(t, url[:strings.LastIndex(strings.TrimSuffix(url, "/"), "/")+1]+"metrics")
		return strings.Contains(text, `streamerson_graph_ready{graph="count"} 1`)
	})
	root, err := http.Get(url[:strings.LastIndex(strings.TrimSuffix(url, "/"), "/")+1])
	if err != nil {
		t.Fatal(err)
	}
	_ = root.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if root.StatusCode != http.StatusNotFound {
		t.Errorf("the page is found without its secret: %s", root.Status)
	}
	page := tab(t)
	browse(t, page, chromedp.EmulateViewport(1360, 1000), chromedp.Navigate(url+"#/graph/count"))
	shows(t, page, "the graph", `document.querySelectorAll('#drawing .row').length > 8`)
	shows(t, page, "its rates", `/\d\/s/.test(document.querySelector('#drawing').textContent)`)
	screenshot(t, page, "inspect")
	redistest.Soon(t, "the page stays", func() bool { return strings.Contains(p.stderr.text(), inspectStays) })
	interrupted(t, p)
}

// read returns what is at an address.
func read(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
