# One line each; .ci/run calls the same ones. `make help` lists them.
.PHONY: help demo test lint doc bench bench-calls sipp-load fuzz fuzz-mutations container-test

# The debug build serves tests and demo alike, so a fresh machine compiles once. Only the benches want speed.
CARGO  ?= cargo
RUNNER := $(if $(shell command -v cargo-nextest),nextest run,test)

help:            ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

demo:            ## one real call from INVITE to handoff on this machine, checked step by step
	$(CARGO) run --locked -- demo

test:            ## installs the Debian packages the tests need, then runs every test, SIPp included
	scripts/install-test-packages
	$(CARGO) $(RUNNER) --locked --workspace
	$(CARGO) test --locked --workspace --doc --quiet

lint:            ## format, clippy, documentation: every warning is an error
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet

doc:             ## the documentation of the code, opened in a browser
	$(CARGO) doc --locked --workspace --no-deps --open

bench:           ## criterion: SIP, media path
	$(CARGO) bench --locked --workspace

bench-calls:     ## 500 concurrent calls over real sockets: CPU per packet pair, memory per call, setup percentiles
	scripts/bench-calls

sipp-load:       ## SIPp load, its figures beside Baton's: make sipp-load SCENARIO=load-talk RATE=10 LIMIT=100 CALLS=500 DURATION=10s TARGET=host:port HTTP=host:port
	scripts/sipp-load

fuzz:            ## every fuzz target on the stable compiler, two at a time: make fuzz FUZZ_SECONDS=600; needs cargo-fuzz
	scripts/fuzz

fuzz-mutations:  ## a million seeded mutations each through the reader and through the endpoint
	$(CARGO) test --locked --release --test conformance mutation

container-test:  ## builds the image and plays one SIPp call to it; the exit code is the call's verdict
	docker compose --profile sipp up --build --exit-code-from sipp sipp
