# make serve   the server and its console on the embedded model (HOST, PORT)
# make test    everything the tests need, then the tests
# make test-clients   published clients of the API, installed beside ours; skipped with a message where their registry or npm is missing
# make test-training  all stages of nano's training with next to no data; skipped with a message where a synthesizer is missing
# make check   formatting, lint, types
# EXTRA=gpu installs the CUDA build of onnxruntime instead of the CPU one.
PYTHON ?= python3
VENV   ?= .venv
EXTRA  ?= cpu
HOST   ?= 127.0.0.1
PORT   ?= 8765
BIN    := $(VENV)/bin
CLIENTS := .venv-clients
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: serve test test-clients test-training check format bench hooks clean
.DELETE_ON_ERROR:

$(VENV)/serve.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what serving needs into $(VENV) ..."
	$(PIP) -e '.[$(EXTRA),webrtc]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/serve.stamp
	@echo "Installing what the tests need into $(VENV) ..."
	$(PIP) -e '.[$(EXTRA),dev]'
	@touch $@

serve: $(VENV)/serve.stamp
	@REALTIME_HOST=$(HOST) REALTIME_PORT=$(PORT) exec $(BIN)/realtime serve

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-clients: $(VENV)/dev.stamp $(CLIENTS)/installed.stamp
	$(BIN)/python -m pytest tests/clients -m clients -rs $(PYTEST_ARGS)

# What was skipped is tried again the next time.
$(CLIENTS)/installed.stamp: $(VENV)/dev.stamp $(addprefix tests/clients/,install.py requirements.txt constraints.txt package-lock.json)
	$(BIN)/python -m tests.clients.install $(CLIENTS)
	@ls $(CLIENTS)/*.skipped >/dev/null 2>&1 || touch $@

# Nano's encoder begins with the one in pipecat-ai's wheel; its code is not used. Some of the rest is compiled. Where that fails the test says what is missing, and the next run tries again.
$(VENV)/train.stamp: $(VENV)/dev.stamp
	@echo "Installing what nano's training needs into $(VENV) ..."
	if $(PIP) -e '.[$(EXTRA),dev,train]' && $(PIP) --no-deps pipecat-ai; then touch $@; fi

test-training: $(VENV)/train.stamp
	$(BIN)/python -m pytest tests/nano -m training -rs $(PYTEST_ARGS)

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
	rm -rf $(VENV) $(CLIENTS) tests/clients/node_modules build dist *.egg-info
