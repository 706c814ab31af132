package durable

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/transcript"
)

// mostMessages is how many values one answer has.
const mostMessages = 1000

// head describes a stream.
func (h *protocol) head(w http.ResponseWriter, r *http.Request, id string) error {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	info, err := h.r.store.Info(ctx, id)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", typeOf(info))
	header.Set("Cache-Control", "no-store")
	if info.Expires.IsZero() {
		header.Set(headerTTL, strconv.FormatInt(int64(info.TTL/time.Second), 10))
	} else {
		header.Set(headerExpires, info.Expires.UTC().Format(time.RFC3339Nano))
	}
	describe(w, info.Last, info.State != Open)
	w.WriteHeader(http.StatusOK)
	return nil
}

// typeOf returns the content type of a stream. That of bytes has no name.
func typeOf(info transcript.Info) string {
	if info.ContentType == "" {
		return defaultType
	}
	return info.ContentType
}

// reading is a read of a stream.
type reading struct {
	id     string
	live   string // "", "long-poll" or "sse"
	cursor string // of the client
	now    bool   // skip what exists
	first  bool   // from the oldest value that is kept
	begin  bool   // so, and no value was found yet
	after  redisio.ID
	info   transcript.Info
}

// query reads the parameters of a read.
func query(q url.Values) (in reading, err error) {
	offsets, has := q["offset"]
	in.live, in.cursor = q.Get("live"), q.Get("cursor")
	switch {
	case len(offsets) > 1:
		return in, invalid("offset is set more than once")
	case in.live != "" && in.live != "long-poll" && in.live != "sse":
		return in, invalid("live must be long-poll or sse")
	case in.live != "" && !has:
		return in, invalid("live reads need an offset: -1 is the beginning")
	case !has || offsets[0] == "-1":
		in.first, in.begin = true, true
		return in, nil
	case offsets[0] == "now":
		in.now = true
		return in, nil
	}
	in.after, err = parseOffset(offsets[0])
	return in, err
}

// read serves what follows an offset.
func (h *protocol) read(w http.ResponseWriter, r *http.Request, id string) error {
	in, err := query(r.URL.Query())
	if err != nil {
		return err
	}
	if err := h.r.enter(); err != nil {
		return err
	}
	defer h.r.leave()
	in.id = id
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if in.now {
		if in.info, err = h.r.store.Info(ctx, id); err != nil {
			return err
		}
		in.after = in.info.Last
	}
	out, err := h.next(ctx, &in)
	if err != nil {
		return err
	}
	if in.info.Kind == transcript.Log && in.info.Expires.IsZero() { // a read renews the life
		if err := h.r.store.Touch(ctx, id); err != nil {
			return err
		}
	}
	switch {
	case in.live == "sse":
		return h.events(w, r, &in, out)
	case len(out.values) == 0 && in.live == "long-poll" && !out.closed:
		return h.wait(w, r, &in)
	}
	return h.write(w, r, &in, out)
}

// next reads a page. It does not move the reading.
func (h *protocol) next(ctx context.Context, in *reading) (out answered, err error) {
	page, err := h.r.store.Page(ctx, in.id, in.after, mostMessages)
	if err != nil {
		return out, err
	}
	in.info = page.Info
	switch {
	case in.begin && in.after.IsZero() && len(page.Entries) > 0:
		in.after = page.Entries[0].ID.Prev()
	case in.begin && in.after.IsZero():
		in.after = in.info.First.Prev()
	case in.after.Ms != in.info.Base.Ms, in.after.Seq > in.info.Last.Seq:
		return out, errGoneOffset
	}
	begin := in.begin
	out.upToDate, out.closed = page.UpToDate, page.UpToDate && in.info.State != Open
	if out.values, out.last, err = in.values(page.Entries); err != nil || !page.UpToDate {
		return out, err
	}
	if out.last.Compare(in.info.Last) < 0 { // Redis has lost the stream
		if out.last = in.info.Last; !begin {
			err = errGoneOffset
		}
	}
	return out, err
}

// values returns the values of entries that follow, and the position after them. The beginning may
// be a reset.
func (in *reading) values(entries []transcript.Entry) (values [][]byte, last redisio.ID, err error) {
	last = in.after
	begin := in.begin || in.after.Seq == 0
	for _, e := range entries {
		switch {
		case e.ID.Ms != last.Ms: // of a stream that was made again
			return nil, last, errGoneOffset
		case e.End != nil:
			continue
		case e.Reset && !(begin && len(values) == 0), e.ID.Seq != last.Seq+1 && !e.Reset:
			return nil, last, errGoneOffset
		case !e.Reset:
			values = append(values, e.Data)
		}
		last = e.ID
	}
	in.begin = in.begin && len(values) == 0
	return values, last, nil
}

// answered is what a read has found.
type answered struct {
	values           [][]byte
	last             redisio.ID // the offset after the values
	upToDate, closed bool
}

// write answers a read that does not stream.
func (h *protocol) write(w http.ResponseWriter, r *http.Request, in *reading, out answered) error {
	header := w.Header()
	describe(w, out.last, out.closed)
	if out.upToDate {
		header.Set(headerUpToDate, "true")
	}
	if in.live != "" && !out.closed {
		header.Set(headerCursor, liveCursor(time.Now(), in.cursor))
	}
	if in.live != "" && len(out.values) == 0 {
		header.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	header.Set("Content-Type", typeOf(in.info))
	switch {
	case in.now:
		header.Set("Cache-Control", "no-store")
	case out.upToDate, in.first: // what follows may come at any time, and what is first may be deleted
		header.Set("Cache-Control", "private, no-cache")
	default:
		header.Set("Cache-Control", "private, max-age=60, stale-while-revalidate=300")
	}
	if !in.now {
		tag := `"` + offsetOf(in.after) + ":" + strconv.FormatUint(out.last.Seq, 10)
		if out.closed {
			tag += ":c"
		}
		tag += `"`
		header.Set("ETag", tag)
		if in.live == "" && r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(joined(typeOf(in.info), out.values)) // the client may have disconnected
	return nil
}

// joined returns values as one body.
func joined(contentType string, values [][]byte) []byte {
	if !isJSONType(contentType) {
		return bytes.Join(values, nil)
	}
	body := append([]byte("["), bytes.Join(values, []byte(","))...)
	return append(body, ']')
}

// wait serves a long-poll for which there is nothing yet.
func (h *protocol) wait(w http.ResponseWriter, r *http.Request, in *reading) error {
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.LongPoll)
	defer cancel()
	f := &follower{r: h.r, id: in.id, info: in.info, at: in.after, idle: h.r.quiet}
	defer f.close()
	for {
		events, err := f.next(ctx)
		if errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil {
			return h.write(w, r, in, answered{last: f.at, upToDate: true})
		}
		if err != nil && err != io.EOF {
			return err
		}
		entries, gone := entriesOf(events)
		if gone != nil {
			return gone
		}
		values, last, err2 := in.values(entries)
		if err2 != nil {
			return err2
		}
		if len(values) > 0 || err == io.EOF {
			return h.write(w, r, in, answered{values, last, true, err == io.EOF})
		}
		in.after = last
	}
}

// entriesOf returns the entries of events, or an error if some were missed.
func entriesOf(events []event) (entries []transcript.Entry, err error) {
	for _, e := range events {
		if e.gap != nil {
			return nil, e.gap
		}
		entries = append(entries, e.entry)
	}
	return entries, nil
}
