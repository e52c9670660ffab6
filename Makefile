# Two commands do everything: `make demo` and `make test`. Both set up .venv first if it is not there.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint clean

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "limpid needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

demo: .venv/ready
	$(BIN)/limpid train demo --run runs/demo
	$(BIN)/limpid sample cifar10-small --out runs/cifar10-small --overwrite

# Tests start about a hundred processes. They load what was compiled once, whatever the caller's Python is told to keep, and
# have one thread each: threads that wait for one another on shared cores cost 7% of the time.
test: .venv/ready
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

clean:
	rm -rf .venv .cache build dist src/*.egg-info
