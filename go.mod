module github.com/streamerson/streamerson-go

go 1.26.0

// In every user's build.
require (
	github.com/cenkalti/backoff/v5 v5.0.3 // waits between tries
	github.com/cespare/xxhash/v2 v2.3.0 // the hash that Partition promises
	github.com/coder/websocket v1.8.15 // gateways/ws: the protocol
	github.com/go-json-experiment/json v1.27.2 // JSON: strict at the edge, fast in the codec; Go 1.27 has it in its library
	github.com/redis/go-redis/v9 v9.23.0 // the client that users hand in
	github.com/reugn/go-streams v0.13.0 // operators/gostreams: the bridge to its connectors
	github.com/robfig/cron/v3 v3.0.1 // source/cron: what its specs say; parsing only
	golang.org/x/sync v0.23.0 // semaphores that bound connections
	golang.org/x/time v0.14.0 // Throttle
)

// In tests, examples and first runs only.
require (
	github.com/alicebob/miniredis/v2 v2.40.0 // the in-process server of redisio/embedded
	github.com/chromedp/cdproto v0.159.0 // with chromedp
	github.com/chromedp/chromedp v0.23.0 // pages of the examples in a real browser
	github.com/creack/pty v1.1.24 // streams top in a pseudo-terminal
	github.com/google/go-cmp v0.7.0
	github.com/graph-gophers/graphql-go v1.11.0 // examples/graphql: schema, execution, limits, subscriptions
	github.com/rs/zerolog v1.35.1 // logs of the examples, for people; the library takes any *slog.Logger
	github.com/tidwall/gjson v1.19.0 // gateways/scale: how KEDA reads its answer
	github.com/vikstrous/dataloadgen v0.0.10 // examples/graphql: collects keys into batches
	go.uber.org/goleak v1.3.0
)

// For users of operators/failsafe only.
require github.com/failsafe-go/failsafe-go v0.9.8 // circuit breakers, hedges and bulkheads

// For users of gateways/metrics only.
require (
	github.com/prometheus/client_golang v1.23.2 // the collector; the client that programs expose metrics with
	github.com/prometheus/client_model v0.6.2 // what it sends
)

// For users of the command streams only.
require (
	golang.org/x/sys v0.50.0 // escape sequences in the console of Windows
	golang.org/x/term v0.48.0 // streams top: the keyboard and the size of the window
)

// For users of operators/window/sketch only.
require (
	github.com/axiomhq/hyperloglog v0.3.0 // Distinct: counts different values in 16 KiB
	github.com/caio/go-tdigest/v4 v4.1.0 // Quantiles; links the standard library only
)

// For users of gateways/tracing only.
require (
	go.opentelemetry.io/otel v1.47.0 // what programs trace with; its propagators and conventions
	go.opentelemetry.io/otel/trace v1.47.0 // the spans
)

require go.opentelemetry.io/otel/sdk v1.47.0 // in tests of gateways/tracing only: a provider in memory

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/bits-and-blooms/bitset v1.24.4 // indirect
	github.com/dgryski/go-metro v0.0.0-20250106013310-edb8663e5e33 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/kamstrup/intmap v0.5.2 // indirect
	github.com/kr/text v0.2.0 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/common v0.66.1 // indirect
	github.com/prometheus/procfs v0.16.1 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	github.com/yuin/gopher-lua v1.1.1 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel/log v1.47.0 // indirect
	go.opentelemetry.io/otel/metric v1.47.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.yaml.in/yaml/v2 v2.4.2 // indirect
	google.golang.org/protobuf v1.36.8 // indirect
)
