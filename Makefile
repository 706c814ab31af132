# Developer targets. `make` lists them.

GO ?= go
FUZZTIME ?= 10s

.PHONY: help setup test lint fuzz examples bench compat faults faults-long check

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## install what the tests need (redis-server, Node.js, npm, Chromium, curl, from Debian's packages)
	@.ci/setup

test: setup ## run all tests, with the race detector, in random order
	$(GO) test -race -shuffle=on -timeout 8m ./...

lint: ## gofmt, vet, staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool -modfile=.ci/tools.mod staticcheck ./...

fuzz: ## fuzz each target for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

examples: ## run every example end to end
	@.ci/examples

bench: ## compare with hand-written code (see bench/)
	$(GO) run ./bench/cmd/bench

faults: setup ## inject faults and count every message (see bench/cmd/faults)
	$(GO) run ./bench/cmd/faults

faults-long: setup ## the same with 100,000 messages each, about half an hour; writes bench/RELIABILITY.md
	$(GO) run ./bench/cmd/faults -long -o bench/RELIABILITY.md

compat: setup ## check the guarantees on all available servers, and write bench/COMPATIBILITY.md
	COMPAT_SERVERS="$${COMPAT_SERVERS-$$(.ci/servers)}" COMPAT_TABLE=$(CURDIR)/bench/COMPATIBILITY.md \
		$(GO) test -count=1 -timeout 8m -run '^TestContract$$' ./redisio/contract
	@cat bench/COMPATIBILITY.md

check: lint test fuzz examples faults ## run everything that CI runs
