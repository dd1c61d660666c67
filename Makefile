# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Two of them need nothing but Python 3.11+ and a C++ compiler:
#   make demo   sets up .venv and compresses and restores a sample photograph
#   make test   sets up .venv and runs the tests
# To use an environment of your own: make test PYTHON=/path/to/python (nothing is installed then).
-include local.mk

VENV ?= .venv
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# An environment of our own is made on demand; one given from outside is taken as it is.
ifndef PYTHON
PYTHON := $(VENV)/bin/python
CODEC := $(VENV)/.installed-codec
RUNTIME := $(VENV)/.installed-runtime
TESTING := $(VENV)/.installed-test
WEB := $(VENV)/.installed-web
TOOLS := $(VENV)/.installed-dev
else
CODEC := native
RUNTIME := native
TESTING := native
WEB := native
TOOLS := native
endif

NATIVE_SOURCES := CMakeLists.txt setup.py $(shell find csrc cmake -type f 2>/dev/null)
BOOTSTRAP ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(if $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo ok),$(p))))
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check
SAMPLE := examples/images/kodim23.png
CPP_BUILD ?= build/native
CPP_OPTIONS ?=
# the system's CMake, or the environment's where there is none
CMAKE := $(or $(shell command -v cmake),$(abspath $(dir $(PYTHON)))/cmake)

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@test -n "$(BOOTSTRAP)" || { echo "Python 3.11 or newer was not found on the PATH" >&2; exit 1; }
	@echo "== creating $(VENV) with $(BOOTSTRAP)"
	@$(BOOTSTRAP) -m venv $(VENV) || { rm -rf $(VENV); echo "the venv module is missing (Debian: apt install python3-venv)" >&2; exit 1; }

$(VENV)/.installed-codec: requirements/codec.txt pyproject.toml $(NATIVE_SOURCES) | $(VENV)/bin/python
	@echo "== building and installing glc with what coding needs, which is not torch"
	$(PIP) -r requirements/codec.txt
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.installed-torch: requirements/cpu.txt | $(VENV)/bin/python
	@echo "== installing the pinned torch (the largest download: about 200 MB where pip finds a CPU build)"
	$(PIP) -r requirements/cpu.txt
	@touch $@

$(VENV)/.installed-runtime: pyproject.toml $(NATIVE_SOURCES) $(VENV)/.installed-torch
	@echo "== building and installing glc"
	$(PIP) -c requirements/cpu.txt -e .
	@touch $(VENV)/.installed-codec $@

$(VENV)/.installed-test: requirements/test.txt requirements/plot.txt requirements/train.txt $(VENV)/.installed-runtime
	@echo "== installing the test tools"
	$(PIP) -c requirements/cpu.txt -r requirements/train.txt -r requirements/plot.txt -r requirements/test.txt
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed-test
	@echo "== installing the development tools"
	$(PIP) -r requirements/dev.txt
	@touch $@

$(VENV)/.installed-web: requirements/web.txt | $(VENV)/bin/python
	@echo "== installing the compiler for WebAssembly"
	$(PIP) -r requirements/web.txt
	@touch $@

.PHONY: native
native:
	@GLC_WERROR=ON $(PYTHON) setup.py --quiet build_ext --inplace

.PHONY: dev
dev: $(TOOLS)  ## build the native module in place, warnings as errors
ifneq ($(TOOLS),native)
	@GLC_WERROR=ON $(PYTHON) setup.py --quiet build_ext --inplace
endif

.PHONY: demo
demo: $(CODEC)  ## set up, then compress and restore a sample photograph
	@$(PYTHON) -m glc demo $(SAMPLE)

.PHONY: page
page: $(CODEC) $(WEB)  ## set up, then build the page that codes in the browser
	@for relaxed in ON OFF; do \
		$(CMAKE) -S examples/web -B build/web_$$relaxed -DGLC_SOURCE_DIR="$(CURDIR)" \
			-DGLC_RELAXED_SIMD=$$relaxed -DGLC_ZIG="$$($(PYTHON) -c 'import ziglang; print(*ziglang.__path__)')" \
			-DCMAKE_TOOLCHAIN_FILE="$(CURDIR)/cmake/wasm32-wasi.cmake"; \
		$(CMAKE) --build build/web_$$relaxed; \
		$(CMAKE) --install build/web_$$relaxed --prefix build/page; \
	done
	@$(PYTHON) -m glc export build/page/model.safetensors --encoder --overwrite
	@echo "build/page is ready for any file server: python3 -m http.server -d build/page 8000"

.PHONY: test
test: $(TESTING)  ## set up, then run the tests
	@$(PYTHON) -m pytest

.PHONY: build-cpp
build-cpp: $(if $(shell command -v cmake),,$(TOOLS))
	$(CMAKE) -S . -B $(CPP_BUILD) -DCMAKE_BUILD_TYPE=Debug -DGLC_SANITIZE=address,undefined \
		-DCMAKE_C_FLAGS_DEBUG="-O1 -g1" -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1" -DGLC_WERROR=ON \
		-DGLC_CUDA=OFF -DGLC_CUDA_EMULATION=ON $(CPP_OPTIONS)
	$(CMAKE) --build $(CPP_BUILD)

.PHONY: test-cpp
test-cpp: build-cpp  ## native tests, CUDA kernels on the CPU too, under the address and undefined-behaviour sanitizers
	cd $(CPP_BUILD) && $(dir $(CMAKE))ctest --output-on-failure

.PHONY: test-gpu
test-gpu: $(TESTING)  ## the tests that need a CUDA device
	@$(PYTHON) -m pytest -m cuda

# Works without a network when PYTHON names an environment that has torch, numpy, pybind11, cmake and
# requirements/test.txt: nothing is installed, the module is built in place with CUDA.
.PHONY: gpu-check
gpu-check: $(filter-out native,$(TESTING))  ## build with CUDA, then CUDA tests, devices compared, sanitizer, benchmarks
	@$(PYTHON) -m tools.gpu_check $(GPU_CHECK)

.PHONY: bench
bench: $(TESTING)  ## every benchmark, each beside its peers
	@$(PYTHON) -m pytest benchmarks --benchmark-only

.PHONY: golden
golden: $(RUNTIME)  ## write the golden streams of a new format version (never over old ones)
	@PYTHONPATH=. $(PYTHON) tools/make_golden.py

.PHONY: fmt
fmt: $(TOOLS)  ## format Python and C++
	@$(PYTHON) -m ruff check --fix-only --quiet . ; $(PYTHON) -m ruff format .
	@$(dir $(PYTHON))clang-format -i $$(git ls-files '*.c' '*.cpp' '*.h' '*.cu' '*.cuh')

.PHONY: lint
lint: $(TOOLS)  ## ruff and mypy
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

.PHONY: ci
ci:  ## everything CI checks, on this machine
	@.ci/run
