package faulttest

import (
	"bytes"
	"context"
	"net"
	"sync"
)

// The kinds of requests, recognized by a word that they contain.
var requests = [...]struct{ kind, has string }{
	{"reclaim", "xautoclaim"}, {"read", "xreadgroup"}, {"write", "xadd"}, {"ack", "xack"},
}

// kindOf returns the kind of a chunk of requests. Scripts contain the names of the commands they
// run, so they come first.
func kindOf(chunk []byte) string {
	lower := bytes.ToLower(chunk)
	if bytes.Contains(lower, []byte("\r\neval\r\n")) || bytes.Contains(lower, []byte("\r\nevalsha\r\n")) {
		return "script"
	}
	for _, r := range requests {
		if bytes.Contains(lower, []byte(r.has)) {
			return r.kind
		}
	}
	return "other"
}

// tapped is a connection on which the process can die between a request and its reply.
type tapped struct {
	net.Conn
	at func(step string)

	mu   sync.Mutex
	last string // the request that waits for its reply
}

func (d *diary) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &tapped{Conn: c, at: d.at}, nil
}

func (c *tapped) Write(b []byte) (int, error) {
	kind := kindOf(b)
	if kind == "script" {
		kind = scriptKind(b)
	}
	c.at(kind + ": before the request")
	n, err := c.Conn.Write(b)
	c.at(kind + ": request sent")
	c.mu.Lock()
	c.last = kind
	c.mu.Unlock()
	return n, err
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	kind := c.last
	c.last = ""
	c.mu.Unlock()
	if kind != "" && err == nil {
		c.at(kind + ": reply received")
	}
	return n, err
}

// scriptKind identifies redisio's scripts by a text that only one of them contains.
func scriptKind(chunk []byte) string {
	for _, s := range [...]struct{ kind, has string }{
		{"dead letter", "to, '-', 'COUNT', 100"}, {"give back", "local function note(id, code)"},
		{"take", "local pool, idle, out, emptied"},
		{"shelve", "local g, me, pool, back, gone"},
		{"ack", "redis.call('XACK', KEYS[1], g, ARGV[i])\n  elseif p then late"},
		{"leave", "'DELCONSUMER'"},
	} {
		if bytes.Contains(chunk, []byte(s.has)) {
			return s.kind
		}
	}
	return "renew"
}
