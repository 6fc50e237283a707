# Each target sets up what it needs in .venv, from setup.cfg and requirements/; nothing outside of
# this folder is changed. `make PYTHON=python3.13 test` takes another Python.

PYTHON ?= python3
BIN := .venv/bin

# The oldest versions that are supported, for the live tests: setup.cfg's lower bounds.
OLDEST := gunicorn[gevent]==25.0.0 gevent==24.10.1 werkzeug==3.1.7 flask==3.1.0 h2==4.1.0 \
	prometheus_client==0.14.0 sqlalchemy==2.0.0 http-sf==1.0.0

# How long `make soak` takes.
SOAK_SECONDS ?= 300

# Generated bodies for each test that needs no server; those that do get three tenths of it.
FUZZ_EXAMPLES ?= 20000

# Processes that are killed while they serve uploads, on each database.
CRASHES ?= 1000

.PHONY: help test fuzz soak crashes lint serve demo loadtest clean

help:
	@echo "make loadtest   measure the stock worker against this one, in a minute or two"
	@echo "make demo       serve the demo on http://127.0.0.1:8000/"
	@echo "make serve      the same, by the name that one looks for to try the configuration"
	@echo "make test       lint, types and all tests, on the oldest and the newest gunicorn"
	@echo "make soak       hundreds of clients that misbehave, for SOAK_SECONDS=300"
	@echo "make crashes    CRASHES=1000 processes killed in the middle of uploads"
	@echo "make fuzz       generated bodies, in ten minutes; FUZZ_EXAMPLES=1000000 in a night"
	@echo "make lint       ruff and mypy alone"
	@echo "make clean      remove what these made and wrote"

# Three files at once: more would need more cores than the smallest machine for tests has.
test: lint .venv-oldest/ready tests/javascript/node_modules/ready
	$(BIN)/python -m pytest -n 3 --dist loadfile

# The limit of one test is that of its worst case: a failure, which is made smaller before it is
# shown.
fuzz: .venv/ready-test .venv-oldest/ready
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest --timeout 900 \
		tests/body/test_fuzz_bodies.py tests/live/test_fuzz.py

lint: .venv/ready-test .venv/ready-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

serve demo: .venv/ready-loadtest
	$(BIN)/gunicorn

loadtest: .venv/ready-loadtest
	$(BIN)/python -m loadtest $(ARGS)

soak: .venv/ready-test
	SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -s tests/live/test_soak.py

crashes: .venv/ready-test
	CRASHES=$(CRASHES) $(BIN)/python -m pytest tests/uploads/test_crashes.py

clean:
	rm -rf .venv* *.egg-info/ .pytest_cache/ .mypy_cache/ .ruff_cache/ .hypothesis/ build/ dist/ \
		report.html tests/javascript/node_modules/
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -m venv .venv

# Requirements files and not dependency groups: the pip of a fresh environment may be too old for
# those (before 25.1).
.venv/ready-%: setup.cfg requirements/*.txt | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check \
		--editable '.[crc32c,prometheus,s3,swift,uploads,postgresql,server]' \
		--requirement requirements/$*.txt
	@touch $@

.venv-oldest/ready: setup.cfg Makefile
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --disable-pip-version-check --editable . $(OLDEST)
	@touch $@

# Clients that the tests upload with. Without npm there are none, and their tests are skipped. None
# of them needs what packages run when they are installed.
tests/javascript/node_modules/ready: tests/javascript/package.json tests/javascript/package-lock.json
	if command -v npm >/dev/null; then \
		npm ci --prefix tests/javascript --ignore-scripts --no-audit --no-fund && touch $@; \
	fi
