# Developer targets. `make` lists them.

GO ?= go
FUZZTIME ?= 10s
RACE ?=

# Compiling takes most of a first run. With GOGC=200 compiler and linker need a seventh less CPU time, and a seventh
# more memory (1.2 GB for the largest package, of four at once). The tests run with Go's default. With nice, tests that
# run next to a compiler are not slowed down by it.
plain := $(shell $(GO) env GOFLAGS) '-toolexec=nice env GOGC=200'

# Without inlining and symbols of debuggers, our packages need two fifths less CPU time to compile, and their tests a
# twentieth more. Stack traces stay as they are. But then they allocate more, which tests without RACE=1 check.
quick := -gcflags=all=-dwarf=false '-gcflags=github.com/streamerson/streamerson-go/...=-dwarf=false -l'

# With RACE=1 all but the fuzzing has the race detector, also what the examples and the faults run, so that it is
# compiled once. Fuzzing is too slow with it.
export GOFLAGS := $(plain) $(if $(RACE),-race $(quick))

.PHONY: help setup test lint fuzz examples bench bench-quick compat contracts faults faults-long check

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## install what the tests need (redis-server, Node.js, npm, Chromium, Prometheus, curl, redis-py, from Debian's packages)
	@.ci/setup

# Most tests wait, so four packages run at once, and up to six parallel tests of each. With the race detector they
# compute much more, so two and four. The examples run whole processes and a browser, so their tests come last, when
# nothing is left to compile. `make lint` vets.
tests = $(GO) test -vet=off -p $(if $(RACE),2,4) -parallel $(if $(RACE),4,6) -shuffle=on -timeout 15m
test: setup ## run all tests in random order; RACE=1: with the race detector, as CI does
	$(tests) $$($(GO) list ./... | grep -v /examples$$)
	$(tests) ./examples

lint: ## gofmt, go mod tidy, vet, staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff && cd bench/peers && $(GO) mod tidy -diff
	@sed 's,/go.mod , ,' go.sum | LC_ALL=C sort -sc -k1,1 -k2,2V && [ -z "$$(sort go.sum | uniq -d)" ] || \
		{ echo "go.sum is unsorted or has a line twice: rm go.sum && $(GO) mod tidy"; exit 1; }
	$(GO) vet ./...
	$$(GOFLAGS="$(plain)" $(GO) tool -n -modfile=.ci/tools.mod staticcheck) ./...

fuzz: ## fuzz each target for FUZZTIME
	@GOFLAGS="$(plain) $(quick)" .ci/fuzz $(FUZZTIME)

examples: ## run every example end to end
	@.ci/examples

bench: setup ## compare with hand-written code and other frameworks, up to 20 minutes; writes bench/results and README.md
	cd bench/peers && $(GO) run .

bench-quick: setup ## the same with few repetitions, up to 2 minutes; only prints the tables
	cd bench/peers && $(GO) run . -quick -o ''

contracts: ## print the table operator x promise, with 200 seeds of chaos for each operator
	@FLOWTEST_SEEDS=200 $(GO) test -count=1 -run '^TestTable$$' -v ./operators | grep -vE '^(=== | *---|20[0-9][0-9]/)'

faults: setup ## inject faults and count every message (see bench/cmd/faults)
	$(GO) run ./bench/cmd/faults

faults-long: setup ## the same with 100,000 messages each, about half an hour; writes bench/RELIABILITY.md
	$(GO) run ./bench/cmd/faults -long -o bench/RELIABILITY.md

compat: setup ## check the guarantees on all available servers, and write bench/COMPATIBILITY.md
	COMPAT_SERVERS="$${COMPAT_SERVERS-$$(.ci/servers)}" COMPAT_TABLE=$(CURDIR)/bench/COMPATIBILITY.md \
		$(GO) test -count=1 -timeout 8m -run '^TestContract$$' ./redisio/contract
	@cat bench/COMPATIBILITY.md

check: ## run everything that CI runs, one after the other
	$(MAKE) RACE=1 lint test fuzz examples faults
