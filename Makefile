# Holdfast's targets. CI (.ci/run) calls the same ones. `make help` lists them.

# The recipes use pipes and loops whose failures must count.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build test nested e2e soak race fuzz cover lint bench-locks deps clean

# How long `make fuzz` spends on each target.
FUZZTIME ?= 10s
# How long `make soak` takes; HOLDFAST_SOAK_SEED repeats its choices.
SOAK ?= 10m
# Bounds a package that hangs; the slowest takes a fraction of it.
TIMEOUT := 8m
# Modules of their own in this repository: what they need is not for users of the library to carry.
NESTED := client/otel client/etcd internal/benchlocks examples/fencing
# Flags of `make bench-locks`: BENCH='-quick -subjects ours,redsync -scenarios lock,names'; -h lists them.
BENCH ?=

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/holdfast
	go build -o bin/holdfast ./cmd/holdfast

test: deps ## Run every test, the end-to-end test and a minute of soak last; name what was skipped (CI=true: a skip fails)
	go run ./internal/testrun -last ./internal/e2e -last ./internal/soak -timeout $(TIMEOUT) ./...

nested: deps ## Vet and test the modules of their own (NESTED in the Makefile)
	@for module in $(NESTED); do \
		echo "-- $$module"; \
		(cd "$$module" && go vet ./... && go test -timeout $(TIMEOUT) ./...); \
	done

e2e: deps ## Run only the end-to-end test: 2,000 increments by four kinds of clients, twice, with faults
	go run ./internal/testrun -count=1 -timeout $(TIMEOUT) ./internal/e2e

# No time-out bounds it: its own watchdog ends a run in which anything is stuck.
soak: ## Run the soak test for SOAK (default 10m): all primitives on nodes that are killed and hang
	HOLDFAST_SOAK=$(SOAK) go run ./internal/testrun -count=1 -timeout 0 ./internal/soak

race: deps ## Run the tests under the race detector (needs a C compiler); e2e and soak left out
	go test -race -timeout 15m $$(go list ./... | grep -v -E "/internal/(e2e|soak)$$")

fuzz: ## Run each fuzz target for FUZZTIME (default 10s)
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$pkg"; \
		done; \
	done

cover: deps ## Write coverage.out and print each package's share and the total; e2e and soak left out
	go test -timeout $(TIMEOUT) -coverprofile coverage.out $$(go list ./... | grep -v -E "/internal/(e2e|soak)$$")
	go tool cover -func coverage.out | tail -n 1

lint: ## Check formatting (gofmt), run go vet, and compile for the other systems that holdfast builds on
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w these:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	GOOS=darwin go vet ./...
	GOOS=windows go build ./...

bench-locks: build ## Compare lock clients, six minutes; BENCH='-out docs' writes docs/benchmarks.md
	@.ci/deps
	cd internal/benchlocks && go build -o ../../bin/benchlocks .
	bin/benchlocks -holdfast bin/holdfast $(BENCH)

# As root on a Debian-like machine, install the programs that the tests run against and that are missing.
deps:
	@.ci/deps

clean: ## Remove what the other targets have made
	rm -rf bin coverage.out
