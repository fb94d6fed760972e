# quorate: what a developer and CI run. `check` never writes to the tree, `fix` does.
# A step that cannot run fails and says why; nothing is skipped silently.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# CGO_ENABLED=0 is the build that ships and the build that is measured.
export CGO_ENABLED := 0

step := .ci/step
have = $(foreach p,$(1),$(if $(or $(findstring ...,$(p)),$(wildcard $(p)/*.go)),./$(p)))

# What must build for a browser: every machine and what the simulator needs.
# internal/arch decides which these are and compares; names without a package yet
# are left out.
PURE := internal/id internal/assert internal/faults trace quorum membership raft rsm wire vfs wal snapshot host host/exec kv/engine kv/engine/mem kv/mvcc kv/lease kv/auth kv/watch kv sim check sim/cluster sim/enumerate lab lab/...
# Modules of their own: what they need must not reach the product's go.mod.
MODULES := $(patsubst %/go.mod,%,$(wildcard */go.mod))
# Packages with goroutines, without Pebble (it has its own race runs).
RACE := vfs wal snapshot transport host/exec host/run . server api/etcd api/http api/web

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+: ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+): ## /\1\t/' | expand -t 12

.PHONY: check
check: ## everything that must be green before a change lands (some ten minutes on 2 cores)
	@$(step) "format" .ci/format
	@$(step) "generated files" .ci/generated
	@$(step) "vet" go vet ./...
	@$(step) "browser builds" $(MAKE) wasm
	@$(step) "tests, and what of the mission they show" $(MAKE) mission
	@$(step) "200 simulator seeds" $(MAKE) seeds
	@$(step) "the same 500 requests to quorate and etcd" $(MAKE) compare REQUESTS=500
	@$(step) "the lab's hashes, natively and under js/wasm" $(MAKE) labhash
	@$(step) "docs/LAB-matrix, the lab's protocols under all fault scripts" $(MAKE) matrix-current
	@$(step) "modules of their own: $(MODULES)" $(MAKE) modules
	@$(step) "race detector" $(MAKE) race
	@printf '\nall green\n'

.PHONY: fix
fix: ## write what check would complain about: format, generated files
	gofmt -l -w .
	go generate ./...

.PHONY: test
test: ## the tests, as the README runs them
	go test ./...

.PHONY: race
race: ## the packages with goroutines under the race detector (needs a C compiler)
	@command -v gcc >/dev/null || { echo "the race detector needs a C compiler: install gcc"; exit 1; }
	CGO_ENABLED=1 go test -race $(sort $(call have,$(RACE)))

.PHONY: wasm
wasm: ## build the pure packages for the browser
	GOOS=js GOARCH=wasm go build $(call have,$(PURE))

.PHONY: mission
mission: ## run the tests and list what shows each behaviour of docs/MISSION.md
	go run ./internal/mission -owner foundation,family

.PHONY: matrix
matrix: ## every protocol of the lab under every fault script; writes docs/LAB-matrix.md and .svg
	go run ./cmd/quorate lab matrix --seeds 5 --markdown docs/LAB-matrix.md --svg docs/LAB-matrix.svg

.PHONY: matrix-current
matrix-current: ## is docs/LAB-matrix what `make matrix` would write now?
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	go build -o "$$dir/quorate" ./cmd/quorate; \
	time "$$dir/quorate" lab matrix --seeds 5 --markdown "$$dir/LAB-matrix.md" --svg "$$dir/LAB-matrix.svg" >"$$dir/out"; \
	for f in LAB-matrix.md LAB-matrix.svg; do \
		diff -u "docs/$$f" "$$dir/$$f" || { echo "docs/$$f is not current: run make matrix, read what changed and commit it"; exit 1; }; \
	done; echo "docs/LAB-matrix is current"

.PHONY: labhash
labhash: ## the lab's runs natively and under js/wasm: the same hashes (needs Node.js)
	@command -v node >/dev/null || { echo "running js/wasm needs Node.js: install nodejs"; exit 1; }
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	go run ./internal/labhash >"$$dir/native"; \
	GOOS=js GOARCH=wasm go build -o "$$dir/labhash.wasm" ./internal/labhash; \
	node "$$(go env GOROOT)/lib/wasm/wasm_exec_node.js" "$$dir/labhash.wasm" >"$$dir/wasm"; \
	diff "$$dir/native" "$$dir/wasm"; \
	echo "$$(wc -l <"$$dir/native") runs, the same hashes natively and under js/wasm"

.PHONY: modules
modules: ## vet and test the modules of their own
	@for m in $(MODULES); do echo "$$m"; (cd $$m && go vet ./... && go test ./...); done

.PHONY: seeds
seeds: SEEDS ?= 200
seeds: ## run simulator seeds (SEEDS=200)
	go run ./cmd/quorate sim --seeds $(SEEDS)

.PHONY: planted
planted: ## break ten safety rules, one at a time: each must be found within 300 seeds
	go run ./internal/planted

.PHONY: compare
compare: REQUESTS ?= 10000
compare: SEED ?= 1
compare: ## the same generated requests to quorate and etcd (REQUESTS=10000 SEED=1)
	cd compare && go run . --requests $(REQUESTS) --seed $(SEED)

.PHONY: failover
failover: ## kill the leader 20 times under load and check what clients saw
	cd bench && go run ./failover

.PHONY: bench
bench: ## the same load on quorate and etcd in turns, side by side; on an idle machine
	cd bench && go run ./load
	cd bench && go run ./budget
