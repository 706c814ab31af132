package app

import (
	"context"
	"net"
	"net/http"

	"github.com/streamerson/streamerson-go/gateways/web"
)

// Server is a part that serves HTTP, as [web.Serve] does. Run takes its address before it starts any part, so a
// port that is in use is an error at once.
type Server struct {
	// Addr is the address to listen on, such as "localhost:3000" or ":8080". Port 0 is any free port.
	Addr string
	// Handler serves the requests. Required.
	Handler http.Handler
	// Config configures the server. The zero value is the default.
	Config web.ServerConfig
	// Listening is called with the server's URL when it begins to serve. Defaults to none.
	Listening func(url string)

	l net.Listener
}

// Run serves until ctx is done and the requests in flight have ended.
func (s *Server) Run(ctx context.Context) error {
	if err := s.listen(); err != nil {
		return err
	}
	l := s.l
	s.l = nil
	if s.Listening != nil {
		s.Listening(urlOf(s.Addr, l))
	}
	return web.Serve(ctx, l, s.Handler, s.Config) // closes l
}

func (s *Server) listen() (err error) {
	if s.l == nil {
		s.l, err = web.Listen(s.Addr)
	}
	return err
}

func (s *Server) unlisten() error {
	if s.l == nil {
		return nil
	}
	l := s.l
	s.l = nil
	return l.Close()
}

// urlOf returns the URL to open in a browser on this machine.
func urlOf(addr string, l net.Listener) string {
	host, _, _ := net.SplitHostPort(addr) // Listen has accepted the address
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if host == "" {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}
