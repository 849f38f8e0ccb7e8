# `make repro` and `make test` need Python 3.11 to 3.14, git and make; everything else they bring themselves.
PYTHON ?= $(firstword $(foreach version,3.13 3.12 3.11 3.14,$(shell python$(version) -c 'import venv; print("python$(version)")' 2>/dev/null)) python3)
VENV := .venv
CONSTRAINTS := constraints.txt
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport VIRTUAL_ENV PYTHONPATH

.PHONY: repro test test-fast test-slow check docs soak bench pins clean

repro: $(VENV)/installed
	dvc repro

# a random.py of your own in the root must not hide Python's
PYTEST := PYTHONSAFEPATH=1 python -m pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder

test: $(VENV)/tests
	$(PYTEST) -m "not slow"

test-fast: $(VENV)/tests
	$(PYTEST) --numprocesses=2 -m "not slow and not integration and not soak"

SLOW := slow
test-slow: $(VENV)/tests
	$(PYTEST) -m "$(SLOW)"

check: $(VENV)/tests
	ruff check .
	ruff format --check .
	mypy

docs: $(VENV)/tests
	python docs/settings_tables.py
	python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html

soak: $(VENV)/tests
	DOGNET_SOAK=1 python -m pytest -m soak

bench: $(VENV)/tests
	$(INSTALL) --requirement bench/requirements.txt
	for script in training fit methods scaling reading pipeline sweep tracking; do python bench/$$script.py || exit 1; done

# what pyproject.toml asks for, as pinned so far; with UPGRADE=--upgrade as new as possible
pins: $(VENV)/installed
	$(INSTALL) uv
	$(PIN) $(UPGRADE) --universal --fork-strategy fewest --output-file constraints.txt
	$(PIN) $(UPGRADE) --resolution lowest-direct --output-file constraints-lowest.txt
PIN := uv pip compile pyproject.toml --quiet --all-extras --python-version 3.11 --no-annotate --custom-compile-command "make pins"

# no C is compiled; Hydra 1.3 needs the one package that exists as source only. Byte code: all cores compile it afterwards
INSTALL := python -m pip install --quiet --disable-pip-version-check --no-compile --only-binary :all: --no-binary antlr4-python3-runtime
COMPILE := python -P -m compileall -qq -j 0 $(VENV)/lib || true

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	@echo "Installing into $(VENV), a minute or two, once"
	$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --constraint $(CONSTRAINTS) --editable . || { echo "The first package that this machine can't have:"; \
	  $(INSTALL) --dry-run --no-deps --requirement $(CONSTRAINTS); exit 1; }
	@$(COMPILE)
	touch $@

$(VENV)/tests: $(VENV)/installed
	$(INSTALL) --constraint $(CONSTRAINTS) --editable '.[test,cluster,slurm,docs]'
	@$(COMPILE)
	touch $@

clean:
	rm -rf $(VENV)
