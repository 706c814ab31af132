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
			h,
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
