# Two commands set everything up: `make demo` for a look, `make test` for work. `make help` lists the rest.

PYTHON ?= python3
PIP := -m pip --disable-pip-version-check install --quiet
PACKAGE := pyproject.toml
JOBS ?= 2

# What must hold without torch: reading, finding, scoring, reporting, and the command line.
INFERENCE_TESTS := tests/test_base_install.py tests/test_aggregate.py tests/cli/test_cli.py tests/cli/test_cli_inputs.py tests/cli/test_cli_models.py tests/test_imports.py tests/test_report.py

# They drive an installed Chromium, whose speed under load is not ours to promise.
BROWSER_TESTS := tests/web/test_web_page.py tests/test_report_browser.py

.DEFAULT_GOAL := help
.PHONY: help demo test lint types tests browser test-base bench soak fuzz sbom audit clean

help:            ## show this
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

demo: .venv-demo/.ready  ## scan the example clips (no torch), write demo-report/
	@.venv-demo/bin/telltale scan examples --explain --out demo-report

test: lint types tests test-base  ## everything that must pass: style, types, tests, tests without torch

lint: .venv/.ready  ## ruff
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: .venv/.ready  ## mypy --strict
	.venv/bin/mypy

tests: .venv/.ready .venv-base/.ready  ## pytest on two cores (JOBS=N: on N), all but the tests that drive a browser
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(JOBS) --dist loadfile $(addprefix --ignore=,$(BROWSER_TESTS))

browser: .venv/.ready  ## the served page and the report in a real Chromium, where one is installed
	.venv/bin/python -m pytest $(BROWSER_TESTS)

test-base: .venv-base/.ready  ## the inference tests with the base install alone
	.venv-base/bin/python -m pytest -q $(INFERENCE_TESTS)

bench: .venv/.ready  ## the benchmarks that need no store of faces, against limits or peers, into benchmarks/results.md (half an hour)
	.venv/bin/python benchmarks/run_all.py

soak: .venv/.ready  ## the web server under 200 uploads, 2,000 slow sockets, 20 kill -9, schemathesis (ten minutes)
	.venv/bin/python benchmarks/web_soak.py

fuzz: .venv/.ready  ## files with seeded damage: make fuzz N=100000 (of a release; one core reads about 200 a second)
	.venv/bin/python tests/fuzz.py --n $(or $(N),2000) --start $(or $(START),0) --keep fuzz-failures

sbom: .venv/.ready .venv-bare/.ready  ## what an installation brings, as CycloneDX: sbom.cdx.json
	.venv/bin/cyclonedx-py environment .venv-bare/bin/python --pyproject pyproject.toml --of JSON -o sbom.cdx.json

audit: .venv/.ready .venv-bare/.ready  ## known vulnerabilities in dependencies (asks PyPI), and telltale doctor
	.venv/bin/python scripts/audit.py .venv-bare/bin/python

clean:           ## remove what these targets made
	rm -rf .venv .venv-bare .venv-base .venv-demo demo-report .mypy_cache .pytest_cache .ruff_cache

.venv-demo/.ready: $(PACKAGE)
	@echo "Installing Telltale into .venv-demo (once) ..."
	@$(PYTHON) -m venv .venv-demo
	@.venv-demo/bin/python $(PIP) --editable .
	@touch $@

.venv/.ready: $(PACKAGE)
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --editable '.[dev]'
	@touch $@

.venv-base/.ready: $(PACKAGE)
	$(PYTHON) -m venv .venv-base
	.venv-base/bin/python $(PIP) --editable . pytest
	@touch $@

# What `pip install .` brings and nothing else: not pip, not pytest.
.venv-bare/.ready: $(PACKAGE) | .venv/.ready
	$(PYTHON) -m venv --clear --without-pip .venv-bare
	.venv/bin/python -m pip --python .venv-bare/bin/python --disable-pip-version-check install --quiet --editable .
	@touch $@
