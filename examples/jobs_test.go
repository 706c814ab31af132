package examples

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/streamerson/streamerson-go/redisio/redistest"
)

// listed is what the tests read of a job.
type listed struct {
	ID       string
	State    string
	Attempt  int
	Progress struct{ Leaves, Settled int }
}

// listJobs returns the jobs of the example.
func listJobs(t *testing.T, url string) []listed {
	t.Helper()
	status, body := get(t, url+"jobs")
	var all struct{ Jobs []listed }
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	return all.Jobs
}

// inState returns how many jobs are in a state.
func inState(all []listed, state string) (n int) {
	for _, j := range all {
		if j.State == state {
			n++
		}
	}
	return n
}

// makeThumbs submits a generated picture.
func makeThumbs(t *testing.T, url string, seed, jams int) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: redistest.Patience}
	body := fmt.Sprintf(`{"name":"p","seed":%d,"jams":%d}`, seed, jams)
	r, err := c.Post(url+"jobs", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusAccepted || r.Header.Get("Location") == "" {
		t.Fatalf("submit: %s", r.Status)
	}
}

// A worker is killed while it works, and users notice nothing: all jobs are done. Those that failed
// are done after a retry.
func TestJobsKilledWorker(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	web := start(t, env, nil, "jobs", "-role", "web", "-addr", "localhost:0")
	url := open(t, web)
	flags := []string{"-role", "worker", "-pace", "50ms", "-lease", "1s", "-running", "4"}
	n := 0
	submit := func() {
		for i := range 15 {
			makeThumbs(t, url, 1+i, i%10/9)
		}
		n += 15
	}
	submit()
	doomed := start(t, env, nil, "jobs", flags...)
	redistest.Soon(t, "it is in the middle of its work", func() bool {
		all := listJobs(t, url)
		if inState(all, "done") == n {
			submit() // this test was late
		}
		if inState(all, "done") == 0 || inState(all, "running") == 0 {
			return false
		}
		doomed.signal(t, syscall.SIGSTOP)
		listJobs(t, url) // behind it, the server has what the worker sent before
		if inState(listJobs(t, url), "running") > 0 {
			return true
		}
		doomed.signal(t, syscall.SIGCONT)
		return false
	})
	doomed.signal(t, syscall.SIGKILL)
	doomed.wait(t)
	if all := listJobs(t, url); inState(all, "done") == n {
		t.Fatal("it was done before it was killed")
	}
	other := start(t, env, nil, "jobs", flags...)
	redistest.Soon(t, "all are done", func() bool { return inState(listJobs(t, url), "done") == n })
	again := 0
	for _, j := range listJobs(t, url) {
		if j.Progress.Leaves != 4 || j.Progress.Settled != 4 {
			t.Errorf("job %s has made %+v", j.ID, j.Progress)
		}
		if j.Attempt > 1 {
			again++
		}
		if status, _ := get(t, url+"thumbs/"+j.ID+"/64"); status != http.StatusOK {
			t.Errorf("thumbnail: %d", status)
		}
	}
	if again == 0 {
		t.Error("no job needed another attempt")
	}
	want(t, other.stdout.text(), "flowchart")
	interrupted(t, web, other)
}

func TestJobsInABrowser(t *testing.T) {
	t.Parallel()
	env := []string{"REDIS_URL=" + redistest.Start(t).URL()}
	p := start(t, env, nil, "jobs", "-role", "web", "-addr", "localhost:0")
	url := open(t, p)
	page := tab(t)
	browse(t, page, chromedp.Navigate(url))
	shows(t, page, "it is live", `document.querySelector("#state[data-state=live]")`)
	browse(t, page, chromedp.Click(chromedp.CSS("#twenty")))
	shows(t, page, "all twenty", `document.querySelectorAll("#jobs li").length === 20`)
	browse(t, page, chromedp.Click(chromedp.CSS("#jobs li[data-state=queued] button")))
	shows(t, page, "one that was cancelled", `document.querySelectorAll("#jobs li[data-state=cancelled]").length === 1`)
	see(t, page, chromedp.Evaluate[bool](`(() => { // what it shows for some seconds only
		window.progress = window.retry = false;
		new MutationObserver(() => {
			progress ||= [...document.querySelectorAll("progress")].some(p => p.value > 0 && p.value < 1);
			retry ||= [...document.querySelectorAll("#jobs li[data-state=retrying] .said")].some(
				s => s.textContent.includes("the press has jammed"));
		}).observe(document.querySelector("#jobs"), {childList: true, subtree: true, attributes: true});
		return true;
	})()`))
	worker := start(t, env, nil, "jobs", "-role", "worker", "-pace", "300ms")
	shows(t, page, "progress", `window.progress`)
	shows(t, page, "a retry with its reason", `window.retry`)
	screenshot(t, page, "jobs")
	dark(t, page)
	screenshot(t, page, "jobs-dark")
	shows(t, page, "nineteen done, with pictures",
		`document.querySelectorAll("#jobs li[data-state=done] img").length === 19 && `+
			`[...document.querySelectorAll("#jobs img")].every(i => i.complete && i.naturalWidth === 128)`)
	browse(t, page, chromedp.Navigate(url))
	shows(t, page, "the same after a reload", `document.querySelectorAll("#jobs li[data-state=done]").length === 19`)
	makeThumbs(t, url, 7, 9) // it fails in the end
	interrupted(t, worker, p)
}
