# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCK   := requirements/dev.txt
STAMP  := $(VENV)/.installed
TORCH  := $(VENV)/.torch
MORE   := requirements/more.txt
EXTRA  := $(VENV)/.more
PEERS  := $(VENV)/.peers
SHOWN  := examples/face_fusion
PIP    := $(BIN)/python -m pip --disable-pip-version-check

# Every process would compile every module anew, a seventh of what the tests take.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint format soak test-vm third-party fuzz bench bench-server coverage docs lock clean

$(STAMP): $(LOCK) pyproject.toml $(SHOWN)/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-deps --require-hashes -r $(LOCK)
	$(PIP) install --quiet --no-deps --no-build-isolation -e . -e $(SHOWN)
	touch $@

# By pip and without hashes: its builds differ by machine. Only tests and benchmarks use it.
$(TORCH): $(STAMP)
	$(PIP) install --quiet --no-deps torch==2.13.0
	touch $@

# Emulators, vendors' own clients and programs to protect: only the tests use them.
$(EXTRA): $(MORE) $(TORCH)
	$(PIP) install --quiet --no-deps --require-hashes -r $(MORE)
	touch $@

$(PEERS): requirements/bench.txt $(EXTRA)
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/bench.txt
	touch $@

demo: $(STAMP)
	$(BIN)/python -m demo

# A file's tests stay in one process; one more than there are processors, since many wait for others.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
test: $(EXTRA) lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile
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

soak: $(EXTRA)
	$(BIN)/python -m pytest -m soak --override-ini addopts="--import-mode=importlib -ra"

# A machine that measures its boot, from the firmware to an inference: QEMU, OVMF, swtpm.
test-vm: $(EXTRA)
	$(BIN)/python -m pytest tests/vm -m soak -s --override-ini addopts="--import-mode=importlib -ra"

# Every branch of the law, by its own tests alone; of the container all that a file can reach.
LAW := $(addprefix tests/,license device crypto trust audit container test_cbor.py \
         airgap/test_parts.py airgap/test_codes.py airgap/test_refused.py)
coverage: $(STAMP)
	mkdir -p bench-out
	$(BIN)/python -m coverage run -m pytest -q $(LAW)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --omit="*/container/*" --fail-under=100
	$(BIN)/python -m coverage report --include="*/container/*" --fail-under=97

# Packages that others wrote, unchanged, plain and sealed, compared byte for byte (downloads about 200 MB).
third-party: $(TORCH)
	$(BIN)/python -m tests.apps.third_party

# Every parser for FUZZ seconds, side by side; what breaks one is kept in bench-out/fuzz/PARSER.
FUZZ ?= 20
fuzz: $(EXTRA)
	$(BIN)/python -m fuzz --seconds $(FUZZ)

# Some ten minutes on a quiet machine; BENCH=--quick ends in two, BENCH=--large adds files of 2 and
# 6 GB and cold loads of other tools.
bench: $(PEERS)
	$(BIN)/python -m bench $(BENCH)

# BENCH=--full stores ten million devices instead of one.
bench-server: $(PEERS)
	$(BIN)/python -m bench.server $(BENCH)

docs: $(STAMP)
	$(BIN)/python tools/make_cli_reference.py
	$(BIN)/python tools/make_token_tables.py
	$(BIN)/python tools/make_protocol_tables.py
	$(BIN)/python tools/make_adr_index.py

# Needs uv; everything else needs pip alone. Of torch and what it brings for graphics cards nothing
# is pinned: see $(TORCH).
COMPILE := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11
WITHOUT := $(foreach name,torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas \
  nvidia-cuda-cccl nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft \
  nvidia-cufile nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 \
  nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx,--no-emit-package $(name))
lock:
	$(COMPILE) --extra server --extra onnx --extra safetensors pyproject.toml requirements/dev.in -o $(LOCK)
	$(COMPILE) $(WITHOUT) requirements/more.in -o $(MORE)
	$(COMPILE) --extra server --extra postgres --extra s3 pyproject.toml requirements/server.in -o requirements/server.txt
	$(COMPILE) $(WITHOUT) requirements/bench.in -o requirements/bench.txt

clean:
	rm -rf $(VENV) demo-out bench-out
