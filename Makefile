# Everything from a fresh clone: `make serve`, `make test`, ... Needs Python 3.11 or newer with pip.
# What a target needs is installed into .venv first, and again only when pyproject.toml changes.

PYTHON ?= $(shell command -v python3.11 || echo python3)
# Arguments of the server, of pytest, of the load tests: make serve ARGS="--port 7000".
ARGS ?=
# Seeds of the simulations, one or first-last: make simulate SEEDS=1000-20000.
SEEDS ?= 0-999
# Of the fuzzer: where it starts, how many commands, and against which Shoal. SEED also of verify.
SEED ?= 1
N ?= 100000
WORKERS ?= 1
RESP ?= 2
# Of litmus, with WORKERS.
ROUNDS ?= 100000
# How long verify begins rounds.
MINUTES ?= 5
# A redis.conf to start with: make serve CONF=my.conf.
CONF ?=

BIN := .venv/bin
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help serve test test-node simulate fuzz verify litmus bench bench-memory bench-size load lint
.PHONY: docs clean

help:
	@echo 'make serve [ARGS="--port 7000"] [CONF=redis.conf]   run the server, data in ./data'
	@echo 'make test  [ARGS="tests/unit -k slots"]            run the tests beside a real Redis'
	@echo 'make test-node [ARGS="--test-name-pattern=x"]      programs of Node.js: BullMQ, ioredis, node-redis'
	@echo 'make simulate SEEDS=1000-20000                     run the simulations on other seeds'
	@echo 'make fuzz SEED=1 N=100000 [WORKERS=3] [RESP=3]     random commands, beside a real Redis'
	@echo 'make verify MINUTES=5 [SEED=1]                     histories while workers are killed'
	@echo 'make litmus ROUNDS=1000000 WORKERS=4               litmus tests on a real server'
	@echo 'make bench [ARGS=...]                              measure next to redis-server'
	@echo 'make bench-memory [ARGS=...]                       bytes per element, the same way'
	@echo 'make bench-size [ARGS=...]                         time per call, by size of the value'
	@echo 'make load  [ARGS=...]                              load tests with locust'
	@echo 'make lint                                          ruff and mypy'
	@echo 'make docs                                          write docs/commands.md'
	@echo 'make clean                                         remove .venv and caches, never ./data'
	@echo 'PYTHON=/path/to/python3.12 chooses the interpreter of a new .venv.'

serve: .venv/serve.stamp
	@mkdir -p data
	@exec $(BIN)/shoal serve $(CONF) --dir data $(ARGS)

test: .venv/test.stamp
	@sh tests/support/install_redis_tools.sh
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile $(ARGS)

# npm writes that file last.
test-node: .venv/serve.stamp tests/node/node_modules/.package-lock.json
	cd tests/node && node --test --test-reporter=spec $(ARGS) *.test.js

simulate: .venv/test.stamp
	SHOAL_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/simulation -q \
		-k 'histories or payload_of or who_hears or litmus_outcome_never' $(ARGS)

# --log 5 in ARGS: also restart from the log, and let a real Redis read it.
fuzz: .venv/test.stamp
	PYTHONPATH=tests $(BIN)/python -m support.fuzz --seed $(SEED) --n $(N) \
		--workers $(WORKERS) --resp $(RESP) $(ARGS)

# --workload bank in ARGS: only that one.
verify: .venv/test.stamp
	PYTHONPATH=tests $(BIN)/python -m support.histories --minutes $(MINUTES) --seed $(SEED) $(ARGS)

litmus: .venv/test.stamp
	PYTHONPATH=tests $(BIN)/python -m support.litmus --rounds $(ROUNDS) --workers $(WORKERS)

bench: .venv/load.stamp
	@sh tests/support/install_redis_tools.sh
	$(BIN)/python -m loadtests.bench $(ARGS)

bench-memory: .venv/load.stamp
	@sh tests/support/install_redis_tools.sh
	$(BIN)/python -m loadtests.bench_memory $(ARGS)

bench-size: .venv/load.stamp
	PYTHONPATH=tests $(BIN)/python -m loadtests.bench_size $(ARGS)

load: .venv/load.stamp
	@sh tests/support/install_redis_tools.sh
	$(BIN)/python -m loadtests.run_load $(ARGS)

lint: .venv/load.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Also the arguments that COMMAND DOCS tells: to be run after a command was added.
docs: .venv/test.stamp
	PYTHONPATH=tests $(BIN)/python -m support.command_page

clean:
	rm -rf tests/node/node_modules
	rm -rf .venv build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

tests/node/node_modules/.package-lock.json: tests/node/package.json tests/node/package-lock.json
	@sh tests/node/need_node.sh
	cd tests/node && npm ci

# mypy looks into all tests, so `lint` needs what they import.
.venv/serve.stamp: EXTRA :=
.venv/test.stamp: EXTRA := [dev,programs]
.venv/load.stamp: EXTRA := [dev,load,programs]

# build/ goes first: a module removed since would still lie in it and be packed.
.venv/%.stamp: pyproject.toml | $(BIN)/python
	@rm -rf build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.$(EXTRA)'
	@touch $@

$(BIN)/python:
	@sh tests/support/make_venv.sh $(PYTHON) .venv
