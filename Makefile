# make serve   the server and its console on the embedded model (HOST, PORT)
# make test    everything the tests need, then the tests
# make check   formatting, lint, types
# EXTRA=gpu installs the CUDA build of onnxruntime instead of the CPU one.
PYTHON ?= python3
VENV   ?= .venv
EXTRA  ?= cpu
HOST   ?= 127.0.0.1
PORT   ?= 8765
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: serve test check format bench hooks clean
.DELETE_ON_ERROR:

$(VENV)/serve.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what serving needs into $(VENV) ..."
	$(PIP) -e '.[$(EXTRA)]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/serve.stamp
	@echo "Installing what the tests need into $(VENV) ..."
	$(PIP) -e '.[$(EXTRA),dev]'
	@touch $@

serve: $(VENV)/serve.stamp
	@REALTIME_HOST=$(HOST) REALTIME_PORT=$(PORT) exec $(BIN)/realtime serve

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/serve.stamp
	$(BIN)/realtime bench latency

hooks: $(VENV)/dev.stamp
	printf '#!/bin/sh\nexec make check\n' > .git/hooks/pre-commit && chmod +x .git/hooks/pre-commit

clean:
	rm -rf $(VENV) build dist *.egg-info
