// Package web connects HTTP routes to the services of package gateways, and serves them.
//
//	mux.Handle("GET /orders/{id}", web.Route[GetOrder](client, "getOrder"))
//	err := web.Serve(ctx, listener, mux, web.ServerConfig{})
//
// [HTTP] and [Route] connect routes of any mux to a service. [ErrorBody] describes the answers to
// failures. [Serve] runs an HTTP server with timeouts, size limits and graceful shutdown. [Healthy]
// and [Ready] answer probes, and [CORS] admits pages of other origins.
package web
