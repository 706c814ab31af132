package ws

import (
	"bytes"
	_ "embed"
	"net/http"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
)

//go:embed client.js
var clientJS []byte

var clientTag = `"` + strconv.FormatUint(xxhash.Sum64(clientJS), 36) + `"`

// ClientJS returns the client for browsers and Node: an ES module without dependencies that exports
// connect, Session and HubError, and contains its documentation. The caller owns the slice.
func ClientJS() []byte { return bytes.Clone(clientJS) }

// Script serves the client with an ETag, so that browsers revalidate it and rarely download it
// again:
//
//	mux.Handle("GET /chat.js", ws.Script())
func Script() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("ETag", clientTag)
		http.ServeContent(w, r, "client.js", time.Time{}, bytes.NewReader(clientJS))
	})
}
