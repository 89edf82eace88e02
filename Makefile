# Two commands set up all they need on a machine that has a Python: `make demo` and `make test`.

SHELL := bash
.DEFAULT_GOAL := help
UV := $(shell command -v uv || echo .tools/uv/bin/uv)
PYTHON := .venv/bin/python
SOURCES := $(shell find pytest_mldeploy backends emulators perf scripts/hatch_build.py pyproject.toml -name '*.py' -o -name '*.toml' -o -name '*.json' -o -name '*.csv' -o -path '*/images/*' -type f | grep -v -e /_serving/ -e __pycache__)
EXTRAS := perf,postgres,blob

# where a missing tool is a failure and not a skipped test
ifeq ($(CI),true)
export MLDEPLOY_REQUIRE ?= azmlinfsrv,azurite,docker,postgres,tmpfs
endif

.PHONY: help demo test lint docs benchmarks endurance clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/'

demo: .venv/demo  ## train, register, deploy, score, test and delete a real model on this machine
	@PATH="$(CURDIR)/.venv/bin:$$PATH" scripts/demo

test: .venv/test lint  ## every test, against the built wheel
	scripts/test-services
	PATH="$(CURDIR)/.venv/bin:$$PATH" MLDEPLOY_WHEEL="$$(echo $(CURDIR)/dist/*.whl)" scripts/run-tests

lint: .venv/test  ## ruff, mypy and the rule of the house
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

docs: .venv/test  ## the documentation as a site, in site/
	$(UV) pip install -q --python $(PYTHON) --group docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

benchmarks: .venv/test  ## our figures, side by side with others'
	for one in deploy environment images register runner scoring; do \
		PATH="$(CURDIR)/.venv/bin:$$PATH" $(PYTHON) benchmarks/$$one.py || exit 1; done

endurance: .venv/test  ## the scoring server under load and under broken HTTP, ten minutes each
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(PYTHON) benchmarks/soak.py --minutes 10
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(PYTHON) benchmarks/fuzz_scoring.py --minutes 10

clean:  ## all that was made here; the caches of uv and mldeploy stay
	rm -rf .venv .tools dist site .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis

.tools/uv/bin/uv:
	python3 -m venv .tools/uv
	.tools/uv/bin/python -m pip install -q uv

dist/.built: $(SOURCES) | $(UV)
	rm -rf dist
	$(UV) build -q --wheel
	touch $@

.venv/bin/python: | $(UV)
	$(UV) venv -q --allow-existing --python '>=3.10,<3.14' .venv

.venv/demo: dist/.built examples/diabetes/requirements.txt | .venv/bin/python
	$(UV) pip install -q --python $(PYTHON) --reinstall-package pytest-mldeploy dist/*.whl -r examples/diabetes/requirements.txt
	touch $@

.venv/test: dist/.built pyproject.toml | .venv/bin/python
	$(UV) pip install -q --python $(PYTHON) --reinstall-package pytest-mldeploy --reinstall-package mldeploy-serving \
		"$$(echo dist/*.whl)[$(EXTRAS)]" "$$(echo backends/mldeploy/_serving/*.whl)[azureml-defaults]" --group test --group lint
	touch $@
