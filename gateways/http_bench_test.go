package gateways_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/streamerson/streamerson-go/gateways"
)

// BenchmarkHTTP compares a route with a handler of net/http that one would write by hand: over the loop of BenchmarkCall that is written
// by hand (by=hand), and over this project's client (by=client), which shows what the route itself adds; by=route is one on a plain server, by=gateways one
// on Serve. Bodies are JSON of 100 B, on 64
// connections that stay open. Look at the ratio of calls/s, of lines that stand next to each other.
func BenchmarkHTTP(b *testing.B) {
	const connections = 64
	b.Run("by=hand", func(b *testing.B) {
		measure(b, connections, keepAlive(b, connections, plain(b, handler(byHand(b, newStand(b))))))
	})
	for _, by := range []string{"client", "route", "gateways"} {
		b.Run("by="+by, func(b *testing.B) {
			s := newStand(b)
			s.serve(b, gateways.ServiceConfig{}, func(svc *gateways.Service) {
				svc.HandleFunc("echo", func(_ context.Context, r *gateways.Request) (gateways.Response, error) {
					return gateways.Response{Body: r.Body, ContentType: r.ContentType}, nil
				})
			})
			c := s.client(b, gateways.ClientConfig{})
			var addr string
			switch mux := http.NewServeMux(); by {
			case "client":
				call := gateways.Call[string, string](c, "echo")
				addr = plain(b, handler(func(v string) (string, error) { return call(context.Background(), v) }))
			case "route":
				mux.Handle("POST /", gateways.HTTP(c, "echo"))
				addr = plain(b, mux)
			default:
				mux.Handle("POST /", gateways.HTTP(c, "echo"))
				addr, _ = up(b, mux, gateways.ServerConfig{})
			}
			measure(b, connections, keepAlive(b, connections, addr))
		})
	}
}

// handler is the least that does it.
func handler(call func(string) (string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := call(string(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	})
}

func plain(b *testing.B, h http.Handler) (addr string) {
	s := httptest.NewServer(h)
	b.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// keepAlive makes a function that posts 100 B of JSON and returns what is in them, on one of some connections.
func keepAlive(b *testing.B, connections int, addr string) func(string) (string, error) {
	type conn struct {
		net.Conn
		r *bufio.Reader
	}
	free := make(chan conn, connections)
	for range connections {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		free <- conn{c, bufio.NewReader(c)}
	}
	const before, after = `{"value":"`, `"}`
	return func(v string) (string, error) {
		c := <-free
		defer func() { free <- c }()
		body := before + v + strings.Repeat(" ", 100-len(before)-len(v)-len(after)) + after
		if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			return "", err
		}
		got, err := answered(c.r)
		if err != nil || got != body {
			return "", fmt.Errorf("%q: %w", got, err)
		}
		return v, nil
	}
}

// answered reads a reply of HTTP, as far as these have to be understood.
func answered(r *bufio.Reader) (string, error) {
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line = strings.TrimSpace(line); line == "" {
			break
		}
		if n, is := strings.CutPrefix(line, "Content-Length: "); is {
			if length, err = strconv.Atoi(n); err != nil {
				return "", err
			}
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return string(body), err
}
