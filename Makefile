# Everything is built inside .venv; an activated environment is neither needed nor used.
#
#   make demo          the main job, end to end, on an embedded data set
#   make test          all checks, then all tests
#   make setup         the environment alone (the verbs above do it themselves)
#   make check         lint, format, types
#   make soak          the tests that take minutes each
#   make bench         what docs/speed.md rests on; TORCH_PYTHON=PATH adds PyTorch's side, root the shaped links;
#                      streaming takes twice STREAM_GB (20) of disk in STREAM_FOLDER (/tmp)
#   make render        the golden Kubernetes manifests again; fails where they change
#   make images        the container images, built and run without a Docker engine (root, buildah, debootstrap)
#   make test-cluster  only the tests that start real Ray with two Horovod processes
#   make lock          work out requirements*.lock again
#   make clean         remove the environment and all caches

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := setup

unexport VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

SUPPORTED := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PACKAGES := $(wildcard configs deploy orchestrator trainers)
READY := $(VENV)/.ready

# Without byte code every start of Ray and TensorFlow takes twice as long.
INSTALL := UV_COMPILE_BYTECODE=1 $(UV) pip install --quiet --python $(BIN)/python
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-emit-index-url --upgrade

.PHONY: setup demo check test test-cluster soak bench render images lock clean

setup: $(READY)

$(UV): requirements-uv.lock
	@[[ -n "$(PYTHON)" ]] || { echo "Ringmaster needs Python 3.11 or 3.12, and none was found. Install one (apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c '$(SUPPORTED)' || { echo "$(PYTHON) is not Python 3.11 or 3.12. Name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot create virtual environments. Install the module: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

$(VENV)/.requirements: $(UV) requirements.lock
	@echo "Installing the packages in requirements.lock (about 700 MB to download the first time)"
	@$(INSTALL) --require-hashes --requirement requirements.lock
	@touch $@

# Compiled again only for a reason of its own: backend.py says which TensorFlow it is for.
$(VENV)/.horovod: requirements-build.lock $(wildcard packaging/horovod/*.py) packaging/horovod/pyproject.toml | $(VENV)/.requirements
	@echo "Compiling Horovod (a minute or two)"
	@$(INSTALL) --no-deps --build-constraints requirements-build.lock ./packaging/horovod
	@$(BIN)/python packaging/horovod/check.py
	@touch $@

$(READY): $(VENV)/.requirements $(VENV)/.horovod pyproject.toml
	@$(INSTALL) --no-deps --build-constraints requirements-build.lock --editable .
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

demo: setup
	@$(BIN)/ringmaster demo

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest

soak: setup
	$(BIN)/python -m pytest -m soak --timeout 3600 --ignore tests/images

BENCH := $(BIN)/python -m benchmarks.
STREAM_GB ?= 20
STREAM_FOLDER ?= /tmp
bench: setup
	$(BENCH)overhead
	$(BENCH)scaling --model cnn --rows 64 --pin
	$(BENCH)scaling --model cnn --rows 256 --pin
	$(BENCH)scaling --model lstm --rows 64 --pin
	$(BENCH)allreduce --pin $(if $(TORCH_PYTHON),--torch-python $(TORCH_PYTHON))
	$(if $(TORCH_PYTHON),$(BENCH)peers --pin --torch-python $(TORCH_PYTHON),@echo "peers needs TORCH_PYTHON=PATH" >&2)
	$(BENCH)proof
	$(BENCH)fit
	$(BENCH)ingest
	$(BENCH)input
	$(BENCH)stream --gb $(STREAM_GB) --folder $(STREAM_FOLDER)
	if [ "$$(id -u)" -eq 0 ]; then \
		$(BENCH)shaped | tee .bench-shaped.json && $(BENCH)simulate --fit .bench-shaped.json --plot docs/scaling.png; \
		rm -f .bench-shaped.json; \
	else echo "shaped needs root" >&2; fi

render: setup
	RINGMASTER_RENDER=1 $(BIN)/python -m pytest --quiet tests/deploy/manifests/test_golden.py
	git diff --exit-code --stat -- tests/golden

images: setup
	$(BIN)/python -m pytest -m soak -s -rs --timeout 5400 tests/images

test-cluster: setup
	$(BIN)/python -m pytest -m cluster

# A lock names no index: the hashes hold for any. The marker that means "every supported system" is
# cut off, so that an unsupported one fails instead of skipping packages.
ANYWHERE := python_full_version < '3.13' and ((platform_machine == 'aarch64' and sys_platform == 'linux') or (platform_machine == 'x86_64' and sys_platform == 'linux'))
BUILD_REQUIRES := import sys, tomllib; sys.path.insert(0, "packaging/horovod"); import backend; \
	files = ("pyproject.toml", "packaging/horovod/pyproject.toml"); \
	lists = [tomllib.load(open(file, "rb"))["build-system"]["requires"] for file in files]; \
	print(*sum(lists, []), f"tensorflow-cpu=={backend.TENSORFLOW_VERSION}; platform_machine == \"x86_64\"", f"tensorflow=={backend.TENSORFLOW_VERSION}", sep="\n")
lock: $(UV)
	echo 'uv==0.13.9' | $(COMPILE) --no-config --no-annotate --output-file requirements-uv.lock -
	$(COMPILE) --extra train-cpu --extra serve --extra k8s --extra dev --no-emit-package horovod \
		--output-file requirements.lock pyproject.toml
	$(BIN)/python -B -c '$(BUILD_REQUIRES)' | $(COMPILE) --no-annotate --output-file requirements-build.lock -
	for image in train-cpu train-gpu; do $(COMPILE) --no-annotate --constraint requirements.lock --extra $$image \
		--no-emit-package horovod --output-file deploy/images/$$image.lock pyproject.toml; done
	for image in serve mlflow; do $(COMPILE) --no-annotate --constraint requirements.lock \
		--output-file deploy/images/$$image.lock deploy/images/$$image.in; done
	sed -i "s/ ; $(ANYWHERE)//" requirements*.lock deploy/images/*.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
