# make demo    the whole product on a throwaway host, in a minute
# make test    all tests, on real systemd hosts booted for the purpose
# make test-faults   every accident at every step of a deploy, and the matrix of what serves afterwards
# make mutants   changes promise-critical code, line by line, and tells which changes no test notices: hours
# make bench   the figures: round trips, bytes, latencies, beside peers
# make lint    ruff, strict mypy, import rules
# Each does its own set-up: packages by name (as root), a virtual environment in .venv.

SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := python3-venv git openssh-client openssh-server make systemd-container mmdebstrap debian-archive-keyring iproute2 \
	docker.io xfsprogs btrfs-progs strace

.PHONY: demo test test-unit test-faults mutants bench lint packages clean

demo: .venv/ready packages
	@$(BIN)/deployer demo $(ARGS)

test: .venv/ready packages lint
	$(BIN)/python -m pytest -n 4 --dist loadgroup --durations=20 $(ARGS)

test-unit: .venv/ready
	$(BIN)/python -m pytest tests/unit tests/host $(ARGS)

test-faults: .venv/ready packages
	$(BIN)/python -m pytest tests/faults -n 2 --dist load $(ARGS)

mutants: .venv/ready
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group mutants
	$(BIN)/mutmut run --max-children 2 $(ARGS)
	@$(BIN)/mutmut results

bench: .venv/ready packages
	$(BIN)/python -m tests.bench $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Only what is missing is installed, and only where we may: elsewhere the sandbox says what it lacks.
packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=""; \
	  for name in $(PACKAGES); do dpkg -s $$name >/dev/null 2>&1 || missing="$$missing $$name"; done; \
	  if [ -n "$$missing" ]; then \
	    echo "installing$$missing"; \
	    DEBIAN_FRONTEND=noninteractive apt-get -qq update && \
	    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $$missing >/dev/null; \
	  fi; \
	fi

.venv/ready: pyproject.toml
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq -y install python3-venv >/dev/null; \
	fi
	@echo "making the virtual environment in .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group dev -e .
	@touch $@

clean:
	rm -rf .venv mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis
