package gateways

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/streamerson/streamerson-go/flow"
)

// A kept answer does not keep the memory from which its request was read. Requests may be much
// larger, and are read in batches.
func TestLedgerLetsRequestsGo(t *testing.T) {
	l := newLedger(8)
	read := func(n int) weak.Pointer[byte] {
		raw := fmt.Appendf(make([]byte, 0, 1<<20), "id-%d text/plain name value body", n)
		text := unsafe.String(&raw[0], len(raw))
		id, h := text[:4], newHandling(t.Context(), time.Time{})
		if is, _ := l.begin(id, h, false); is != fresh {
			t.Fatalf("%q is %d", id, is)
		}
		l.end(
			id,
			&Response{
				ContentType: text[5:15],
				Headers:     flow.Headers{{Name: text[16:20], Value: text[21:26]}},
				Body:        raw[27:],
			},
		)
		l.cancel(text[5+n:])
		return weak.Make(&raw[0])
	}
	var all []weak.Pointer[byte]
	for n := range 4 {
		all = append(all, read(n))
	}
	runtime.GC()
	for n, p := range all {
		if p.Value() != nil {
			t.Errorf("request %d is still there", n)
		}
		is, got := l.begin(fmt.Sprint("id-", n), nil, true)
		if is != answered ||
			fmt.Sprintf("%s %v %s", got.ContentType, got.Headers, got.Body) != "text/plain [{name value}] body" {
			t.Errorf("%d: %+v", is, got)
		}
	}
}

// The latest answers are kept. A copy gets the latest answer to its ID.
func TestLedgerKeepsTheLatestAnswers(t *testing.T) {
	l := newLedger(2)
	begin := func(id string, copied bool, want standing) (answer string) {
		t.Helper()
		is, a := l.begin(id, newHandling(t.Context(), time.Time{}), copied)
		if is != want {
			t.Fatalf("%q is %d, want %d", id, is, want)
		}
		if a != nil {
			answer = string(a.Body)
		}
		return answer
	}
	kept := func(id, want string) {
		t.Helper()
		if got := begin(id, true, answered); got != want {
			t.Errorf("the answer to %q is %q, want %q", id, got, want)
		}
	}
	end := func(id, answer string) { l.end(id, &Response{Body: []byte(answer)}) }
	begin("a", true, fresh)
	begin("a", true, underWay)
	end("a", "1")
	kept("a", "1")
	begin("b", false, fresh)
	end("b", "2")
	begin("a", false, fresh) // a new request with the same ID
	if begin("a", true, underWay); l.running("a") == nil {
		t.Error("a is not running")
	}
	end("a", "3")
	kept("a", "3")
	kept("b", "2")
	if l.cancel("a") != nil || len(l.gone.slots) > 0 {
		t.Error("an answered request was cancelled")
	}
	begin("c", false, fresh)
	end("c", "4") // drops b
	kept("a", "3")
	kept("c", "4")
	if begin("b", true, fresh); len(l.ring) != 2 || len(l.known) != 1 {
		t.Errorf("%d answers, %d running requests", len(l.ring), len(l.known))
	}
	l.end("b", nil)
	kept("c", "4")
	begin("b", true, fresh)
}

// A handled request takes memory for its answer only.
func TestLedgerAllocations(t *testing.T) {
	l, h, n := newLedger(8), newHandling(t.Context(), time.Time{}), 0
	ids := make([]string, 16)
	for i := range ids {
		ids[i] = fmt.Sprint("id-", i)
	}
	answer := &Response{ContentType: "application/json", Body: []byte("{}")}
	handle := func() {
		n++
		l.begin(ids[n%len(ids)], h, false)
		l.end(ids[n%len(ids)], answer)
	}
	for range 2 * len(ids) {
		handle()
	}
	if got := testing.AllocsPerRun(100, handle); got > 1 {
		t.Errorf("%v allocations", got)
	}
}
