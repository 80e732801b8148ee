# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCK   := requirements/dev.txt
STAMP  := $(VENV)/.installed
TORCH  := $(VENV)/.torch
SHOWN  := examples/face_fusion
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test lint format soak bench coverage docs lock clean

$(STAMP): $(LOCK) pyproject.toml $(SHOWN)/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-deps --require-hashes -r $(LOCK)
	$(PIP) install --quiet --no-deps --no-build-isolation -e . -e $(SHOWN)
	touch $@

# By pip and without hashes: its builds differ by machine. Only tests and benchmarks use it.
$(TORCH): $(STAMP)
	$(PIP) install --quiet --no-deps torch==2.13.0
	touch $@

demo: $(STAMP)
	$(BIN)/python -m demo

test: $(STAMP) $(TORCH) lint
	$(BIN)/python -m pytest
	FACE_FUSION_MODELS=$(CURDIR)/.cache/face-fusion/models $(BIN)/python -m pytest $(SHOWN)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p demo
	cd $(SHOWN) && $(CURDIR)/$(BIN)/ruff check . && $(CURDIR)/$(BIN)/ruff format --check .
	cd $(SHOWN) && $(CURDIR)/$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/make_cli_reference.py --check

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd $(SHOWN) && $(CURDIR)/$(BIN)/ruff check --fix . && $(CURDIR)/$(BIN)/ruff format .

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak --override-ini addopts="--import-mode=importlib -ra"

# Every branch of the law, by its own tests alone; of the container all that a file can reach.
LAW := $(addprefix tests/,license device crypto trust audit container test_cbor.py \
         airgap/test_parts.py airgap/test_codes.py airgap/test_refused.py)
coverage: $(STAMP)
	mkdir -p bench-out
	$(BIN)/python -m coverage run -m pytest -q $(LAW)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --omit="*/container/*" --fail-under=100
	$(BIN)/python -m coverage report --include="*/container/*" --fail-under=97

# BENCH=--quick ends in two minutes, BENCH=--large adds files of 2 GB.
bench: $(STAMP)
	$(BIN)/python -m bench $(BENCH)

docs: $(STAMP)
	$(BIN)/python tools/make_cli_reference.py
	$(BIN)/python tools/make_token_tables.py
	$(BIN)/python tools/make_protocol_tables.py
	$(BIN)/python tools/make_adr_index.py

# Needs uv; everything else needs pip alone.
lock:
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	  --extra server --extra onnx --extra safetensors pyproject.toml requirements/dev.in -o $(LOCK)

clean:
	rm -rf $(VENV) demo-out bench-out
