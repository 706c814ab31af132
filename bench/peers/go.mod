// The comparison with other frameworks is a module of its own: what it needs is in nobody's build.
module github.com/streamerson/streamerson-go/bench/peers

go 1.26.0

require (
	github.com/redis/go-redis/v9 v9.23.0
	github.com/streamerson/streamerson-go v0.0.0
)

require (
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-json-experiment/json v1.27.2 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/streamerson/streamerson-go => ../..
