# What a person types. Each target is one or two commands; anything longer is a script in scripts/.

SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH)

# Cargo's own variable is honoured, so that two builds can stand side by side.
BIN := $(or $(CARGO_TARGET_DIR),target)/release
BINARIES := -p baton-coordinator -p baton-stateboard -p batonctl -p chaos

# Of `make demo` and `make bench`.
ENGINE ?= redis
PROVIDER ?= stateboard
LEASE_TTL ?= 3s
# Of `make bench`.
ATTEMPTS ?= 10
LEASE_TTLS ?= 3s,1s,300ms
# Of `make bench-load`.
SETS ?= 1000
VICTIMS ?= 300
# Of `make test`: which suites, in this order.
SUITES ?= format clippy tidy unit scenario sim model contract e2e chaos

.DEFAULT_GOAL := help
.PHONY: soak help deps build test nightly bench bench-stateboard bench-providers bench-load demo model sim chaos fmt fix clean

help:
	@echo 'make demo     watch a real master die and be replaced [ENGINE=redis|postgres] [PROVIDER=stateboard|etcd] [LEASE_TTL=3s] [SEED=n] [JSON=1]'
	@echo 'make test     everything that CI runs [SUITES="tidy unit"]'
	@echo 'make nightly  the tests that have a size, at theirs for a night: seeds, kills, minutes without the provider'
	@echo 'make model    search one world of the model, or all: [WORLD=name|all] [BREAK=rule] [MOST=states] [JSON=1]'
	@echo 'make sim      run seeds of the simulation [SEEDS=1000] [FROM=n] [BREAK=rule] [JSON=1] [RESUME=file] [THREADS=n] [JOURNAL=1 [ONLY=3,7]]'
	@echo 'make chaos    play scenarios with real faults on machines of their own, as root: [SCENARIO=name|all] [ENGINE=redis] [PROVIDER=stateboard] [LEASE_TTL=3s] [ASYNC=1] [PREVIOUS=commit] [SEED=n] [JSON=1]'
	@echo 'make soak     scenarios drawn from seeds, for a time; goes on where it was stopped: [FOR=8h] [PROVIDER=stateboard] [SEED=n] [JSON=1]'
	@echo 'make bench    the figures of the README [ATTEMPTS=10] [LEASE_TTLS=3s,1s,300ms] [JSON=1]'
	@echo 'make bench-load  one arbiter over many replica sets [SETS=1000] [VICTIMS=300] [PROVIDER=stateboard] [LEASE_TTL=3s] [SEED=n] [JSON=1]'
	@echo 'make build    release binaries, in $(BIN)'
	@echo 'make deps     install what is missing (Debian), with the reason for each'
	@echo 'make fmt      format; `make fix` also applies lint suggestions and rewrites what is generated in the docs'
	@echo 'make clean    remove build output'

deps:
	@scripts/deps build run etcd

build:
	@scripts/deps build >&2
	cargo build --release $(BINARIES)

test:
	@scripts/deps build run etcd >&2
	@scripts/test $(SUITES)

# The same with the numbers that a gate has no time for: 3,000 seeds of random faults, other ones each day, 1,000 kills of a
# stateboard, ten minutes without the provider under load, 200 failovers of PostgreSQL.
nightly:
	@BATON_FROM=$$(($$(date +%s) / 86400 * 1000000)) BATON_SEEDS=3000 BATON_KILLS=1000 BATON_OUTAGE=600 BATON_FAILOVERS=200 $(MAKE) --no-print-directory test SUITES='unit sim contract e2e'

# Standard output belongs to the demo alone: with JSON=1 it is exactly one line.
demo:
	@scripts/deps build run $(filter etcd,$(PROVIDER)) >&2
	@cargo build --release $(BINARIES) >&2
	@$(BIN)/chaos demo --engine '$(ENGINE)' --provider '$(PROVIDER)' --lease-ttl '$(LEASE_TTL)' $(if $(SEED),--seed '$(SEED)') $(if $(JSON),--json)

bench:
	@scripts/deps build run etcd >&2
	@cargo build --release $(BINARIES) >&2
	@$(BIN)/chaos bench --engine '$(ENGINE)' --provider '$(PROVIDER)' --lease-ttl '$(LEASE_TTLS)' --attempts '$(ATTEMPTS)' $(if $(SEED),--seed '$(SEED)') $(if $(JSON),--json)
	@$(MAKE) --no-print-directory bench-stateboard
	@$(MAKE) --no-print-directory bench-providers

# The stateboard against the raw disk: quiet machine, same disk, one run.
bench-stateboard:
	@scripts/deps build >&2
	@$(if $(JSON),JSON=1) cargo bench -q -p baton-stateboard --bench stateboard

# The stateboard against etcd: the same.
bench-providers:
	@scripts/deps build etcd >&2
	@$(if $(JSON),JSON=1) cargo bench -q -p baton-stateboard --bench providers

# Many acted hosts under one real arbiter: quiet machine.
bench-load:
	@scripts/deps build $(filter etcd,$(PROVIDER)) >&2
	@cargo build --release -p baton-coordinator -p baton-stateboard -p batonctl >&2
	@LOAD_SETS='$(SETS)' LOAD_VICTIMS='$(VICTIMS)' LOAD_PROVIDER='$(PROVIDER)' LOAD_LEASE_TTL='$(LEASE_TTL)' LOAD_SEED='$(SEED)' \
		$(if $(JSON),JSON=1) cargo bench -q -p load --bench load

model:
	@scripts/deps build >&2
	@cargo run --release -p model -- $(if $(WORLD),--world '$(WORLD)') $(if $(BREAK),--break '$(BREAK)') $(if $(MOST),--most '$(MOST)') $(if $(JSON),--json)

sim:
	@scripts/deps build >&2
	@cargo run --release -q -p sim -- --seeds '$(or $(SEEDS),1000)' --commit "$$(git rev-parse --short HEAD)" $(if $(FROM),--from '$(FROM)') $(if $(BREAK),--break '$(BREAK)') \
		$(if $(RESUME),--resume '$(RESUME)') $(if $(THREADS),--threads '$(THREADS)') $(if $(JOURNAL),--journal) $(if $(ONLY),--only '$(ONLY)') $(if $(JSON),--json)

chaos:
	@scripts/deps build run $(filter etcd,$(PROVIDER)) >&2
	@cargo build --release $(BINARIES) >&2
	@previous=$(if $(PREVIOUS),$$(scripts/previous '$(PREVIOUS)')); \
		$(BIN)/chaos run $(or $(SCENARIO),all) $${previous:+--previous "$$previous"} $(if $(ASYNC),--async) --engine '$(ENGINE)' --provider '$(PROVIDER)' --lease-ttl '$(LEASE_TTL)' $(if $(SEED),--seed '$(SEED)') $(if $(JSON),--json)

# Scenarios drawn from seeds; started again it goes on where it was.
soak:
	@scripts/deps build run $(filter etcd,$(PROVIDER)) >&2
	@cargo build --release $(BINARIES) >&2
	@$(BIN)/chaos soak --for '$(or $(FOR),8h)' --engine '$(ENGINE)' --provider '$(PROVIDER)' --lease-ttl '$(LEASE_TTL)' --out 'chaos-runs/soak-$(PROVIDER)' $(if $(SEED),--seed '$(SEED)') $(if $(JSON),--json)

fmt:
	cargo fmt --all

fix: fmt
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	UPDATE=1 cargo test -p tidy --test main -- the_wire_is_as_recorded the_timing_page_shows

clean:
	cargo clean
