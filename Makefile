# Verbs of this repository. `make run` and `make test` need Python >= 3.11 with venv, and nothing else: no root, no
# docker, no key. Each makes .venv from a lock with hashes when it is missing or stale.
#   PYTHON=/path/to/python   the Python that .venv is made with
#   ARGS="..."               further arguments for run or test
#   KILLS, SEED, SCENARIO, MINUTES, N   of chaos and soak; scenarios: chaos, pools, caps, outage, doubled
#   SEEDS   of bench-search; NODES of bench-growth
#   PEERS=1   of bench: distilabel and Data Designer too, installed into .build/peers

SHELL := /bin/sh
KILLS := 40
SEED := 1
SCENARIO := chaos
MINUTES := 10
N := 20
SEEDS := 200
NODES := 1000000
TORCH := torch==2.13.0
BIN := .venv/bin
SETUP := sh scripts/setup.sh
export PYTHON PEERS

.DEFAULT_GOAL := help
.PHONY: help run test setup-train test-train chaos chaos-restarts soak rehearsal bench-eta bench bench-growth bench-limiter bench-search bench-core bench-diversity bench-gate deploy-tools setup lint format types imports wheel test-wheel lock hooks down clean

help: ## this list
	@sed -n -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

run: ## evolve examples/seeds.jsonl on the local stack into out/ (about five minutes on two cores)
	@$(SETUP) local
	@$(BIN)/instructree run examples/seeds.jsonl --recipe idea-mcts --out out $(ARGS)

test: ## every test
	@$(SETUP) dev
	@$(BIN)/pytest $(ARGS)

setup-train: ## .venv with what training needs: PyTorch (TORCH=torch==2.13.0), the rest by its lock, the local student
	@$(SETUP) dev
	@sh scripts/train.sh $(TORCH)

test-train: setup-train ## the tests that need the training set
	@$(BIN)/pytest tests/unit/test_training_*.py tests/unit/test_generation_core.py tests/properties/test_generation.py \
		tests/integration/test_weighing.py tests/e2e/test_pools.py $(ARGS)

chaos: ## a real run under kills, faults and floods by a seeded plan, then the laws (KILLS=40 SEED=1 SCENARIO=chaos)
	@$(SETUP) dev
	@$(BIN)/python -m tests.chaos --scenario $(SCENARIO) --kills $(KILLS) --seed $(SEED) $(ARGS)

chaos-restarts: ## N=20 runs, each killed whole at a random moment and given the same command again
	@$(SETUP) dev
	@$(BIN)/python -m tests.chaos --scenario restarts --count $(N) --seed $(SEED) $(ARGS)

soak: ## steady load: memory of each process, dead rows, claim latency (MINUTES=10)
	@$(SETUP) dev
	@$(BIN)/python -m tests.chaos --scenario soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

rehearsal: ## a night in short: one run, a faulty endpoint, kills every ten minutes; laws, and what the report says (MINUTES=120)
	@$(SETUP) dev
	@$(BIN)/python -m tests.chaos --scenario rehearsal --minutes $(MINUTES) --seed $(SEED) $(ARGS)

bench-eta: ## how well status says when a run will end: real runs on the scripted model, the error at the first tenth and later
	@$(SETUP) dev
	@$(BIN)/python -m benchmarks.eta --page docs/benchmarks/eta.md $(ARGS)

bench-limiter: ## the shared limiter against a token bucket: 429s and time, limit configured and unknown
	@$(SETUP) dev
	@$(BIN)/python benchmarks/limiter.py $(ARGS)

bench: ## calls/s of a product run beside the bare client, and with PEERS=1 its rivals (ARGS=--quick: two minutes)
	@$(SETUP) dev
	@$(BIN)/python -m benchmarks.throughput $(ARGS)

bench-growth: ## what a node costs at 10,000, 100,000 and a million of them, and what questions cost then (NODES=1000000)
	@$(SETUP) dev
	@$(BIN)/python -m benchmarks.growth --nodes $(NODES) --page docs/benchmarks/growth.md $(ARGS)

bench-search: ## every policy on landscapes of known optimum, at equal calls; tables and pictures (SEEDS=200)
	@$(SETUP) dev
	@$(BIN)/python -m benchmarks.search --seeds $(SEEDS) $(ARGS)

bench-core: ## what the search core costs: microseconds per evolution at 100, 1,000 and 10,000 nodes
	@$(SETUP) dev
	@$(BIN)/python benchmarks/core_cost.py $(ARGS)

bench-gate: ## the lexical gate of generation beside rouge-score: the same decisions, and how much faster
	@$(SETUP) dev
	@$(BIN)/python -m benchmarks.gate $(ARGS)

bench-diversity: ## the diversity gate beside rouge-score, at 1,000, 10,000 and 50,000 texts
	@$(SETUP) dev
	@$(BIN)/python benchmarks/diversity.py $(ARGS)

deploy-tools: ## helm, Kubernetes schemas and Prometheus into .build/, for the tests of deploy/ (no root)
	@sh scripts/deploy-tools.sh

setup: ## .venv with everything that the other verbs need
	@$(SETUP) dev

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: setup ## ruff: mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup ## mypy: strict for the packages, lenient for bodies of tests
	@$(BIN)/mypy

imports: setup ## import-linter: which package may know of which
	@$(BIN)/lint-imports --no-logo

wheel: setup ## dist/: source archive, and the wheel built from it
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist . >.build-log 2>&1 || { cat .build-log; exit 1; }
	@rm -f .build-log
	@ls dist

test-wheel: wheel ## the wheel in an empty environment: starts on the core alone, passes the unit tests elsewhere
	@sh scripts/test-wheel.sh

lock: ## recompile requirements/*.txt (UPGRADE=1: with the newest versions)
	@sh scripts/lock.sh

hooks: setup ## git hooks that run the checks before each commit
	@$(BIN)/pre-commit install

down: ## stop the local stack
	@if [ -x $(BIN)/instructree ]; then $(BIN)/instructree down; else echo "nothing is installed, so nothing runs"; fi

clean: down ## stop the local stack (its data stay), remove .venv and everything built
	@rm -rf .venv .venv.lock .build .build-log dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find orchestrator workers db tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
