# `make repro` and `make test` need Python 3.11 to 3.13, git and make; everything else they bring themselves.
PYTHON ?= $(firstword $(foreach version,3.13 3.12 3.11,$(shell python$(version) -c 'import venv; print("python$(version)")' 2>/dev/null)) python3)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport VIRTUAL_ENV PYTHONPATH

.PHONY: repro test check docs soak bench clean

repro: .venv/installed
	dvc repro

test: .venv/tests
	python -m pytest

check: .venv/tests
	ruff check .
	ruff format --check .
	mypy

docs: .venv/tests
	python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html

soak: .venv/tests
	DOGNET_SOAK=1 python -m pytest -m soak

bench: .venv/tests
	python -m pip install --quiet --disable-pip-version-check --requirement bench/requirements.txt
	for script in training tricks fit scaling reading pipeline sweep tracking; do python bench/$$script.py || exit 1; done

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/tests: .venv/installed
	python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,cluster,docs]'
	touch $@

clean:
	rm -rf .venv
