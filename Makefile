# Every target that touches deployments is one meta-flows command; `make help` lists them.
#   ENV=development|staging|production (or dev, staging, prod)   FLOW="rpa1 rpa2"   KIND=python   PATTERN="rpa1-*"
#   PARAMS="batch_size=10"   VERBOSE=true   JSON=true   ADOPT=true   PRUNE=true   DRY_RUN=true   PYTHON=python3.12
#   REMOTE=true (runs the registered meta-flow)   REGISTRY=registry.example.com/team   PLAN=plan.json   TO=20260302t081500-1a2b (a release)   CONFIRM=production   POLICY=report|repair|deploy

ENV ?=
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

OPTIONS = $(if $(filter true 1 yes,$(VERBOSE)),--verbose) $(if $(filter true 1 yes,$(JSON)),--json)
TARGET = $(if $(ENV),--environment $(ENV)) $(foreach flow,$(FLOW),--flow '$(flow)') \
	$(foreach kind,$(KIND),--kind $(kind)) $(if $(PATTERN),--pattern '$(PATTERN)')
CONFIG = $(foreach param,$(PARAMS),--parameter '$(param)') $(if $(filter true 1 yes,$(ADOPT)),--adopt) \
	$(if $(filter true 1 yes,$(PRUNE)),--prune)
VALIDATION = $(if $(filter true 1 yes,$(OFFLINE)),--offline) $(if $(filter true 1 yes,$(IMPORT)),--import)
THERE = $(if $(filter true 1 yes,$(REMOTE)),--remote)
SURE = $(if $(filter true 1 yes,$(YES)),--yes)
DRY = $(if $(filter true 1 yes,$(DRY_RUN)),--dry-run)
IN_REGISTRY = $(if $(REGISTRY),DOCKER_REGISTRY='$(REGISTRY)')
META_FLOWS = $(BIN)/meta-flows

.DEFAULT_GOAL := help
.PHONY: help doctor install discover-flows validate-flows validate-deployments build-deployments test-deployments \
	plan deploy-all deploy-python deploy-containers build-images push-images pull-images deploy-dev deploy-staging \
	deploy-prod clean-deployments reconcile rollback register status check-ui releases unlock run worker server server-stop \
	serve-flows serve-deployments test test-system test-all test-prefect-3.4 lint lock docs screenshots bench bench-chart

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9%. -]+:.*## / {printf "  %-34s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

discover-flows: $(VENV)/run ## list every flow, and what is wrong with it [FLOW= VERBOSE=true]
	@$(META_FLOWS) discover $(foreach flow,$(FLOW),--flow '$(flow)') $(OPTIONS)

validate-flows: $(VENV)/run ## check every flow, and what it imports [FLOW= IMPORT=true]
	@$(META_FLOWS) validate $(foreach flow,$(FLOW),--flow '$(flow)') $(VALIDATION) $(OPTIONS)

validate-deployments: $(VENV)/run ## check every deployment, against the server too [ENV= DEPLOYMENT=rpa1-python-dev OFFLINE=true IMPORT=true]
	@$(META_FLOWS) validate --environment $(or $(ENV),development) $(filter-out --environment $(ENV),$(TARGET)) \
		$(if $(DEPLOYMENT),--deployment $(DEPLOYMENT)) $(VALIDATION) $(THERE) $(OPTIONS)

doctor: $(VENV)/run ## diagnose this machine, the server and the connections between them [ENV=]
	@$(META_FLOWS) doctor $(if $(ENV),--environment $(ENV)) $(OPTIONS)

build-deployments: $(VENV)/run ## write build/prefect.<env>.yaml, which stock `prefect deploy --all` accepts [ENV=]
	@$(META_FLOWS) build $(TARGET) $(OPTIONS)

plan test-deployments: $(VENV)/run ## show what a deploy would change, field by field; nothing is written [ENV= FLOW= PRUNE=true PLAN=plan.json]
	@$(META_FLOWS) plan $(TARGET) $(CONFIG) $(if $(PLAN),--out $(PLAN)) $(OPTIONS)

deploy-all: $(VENV)/run ## deploy every flow, and verify it [ENV= FLOW= KIND= PATTERN= PARAMS= ADOPT=true PRUNE=true PLAN=plan.json DRY_RUN=true YES=true REMOTE=true]
	@$(IN_REGISTRY) $(META_FLOWS) deploy $(TARGET) $(CONFIG) $(DRY) $(SURE) $(if $(PLAN),--plan $(PLAN)) $(THERE) $(OPTIONS)

deploy-python: $(VENV)/run ## deploy the python kind only [ENV= FLOW=]
	@$(META_FLOWS) deploy $(TARGET) --kind python $(CONFIG) $(SURE) $(THERE) $(OPTIONS)

deploy-containers: $(VENV)/run ## deploy the docker kind only [ENV= FLOW= REGISTRY=]
	@$(IN_REGISTRY) $(META_FLOWS) deploy $(TARGET) --kind docker $(CONFIG) $(SURE) $(THERE) $(OPTIONS)

build-images push-images pull-images: %-images: $(VENV)/run ## build, push or pull the images of all flows [ENV= FLOW= REGISTRY= VERBOSE=true]
	@$(IN_REGISTRY) $(META_FLOWS) images $* $(if $(ENV),--environment $(ENV)) $(foreach flow,$(FLOW),--flow '$(flow)') $(OPTIONS)

deploy-dev: ; @$(MAKE) --no-print-directory deploy-all ENV=development ## deploy to development
deploy-staging: ; @$(MAKE) --no-print-directory deploy-all ENV=staging ## deploy to staging
deploy-prod: ; @$(MAKE) --no-print-directory deploy-all ENV=production ## deploy to production

clean-deployments: $(VENV)/run ## delete this project's deployments [ENV=staging|all PATTERN="rpa1-*" DRY_RUN=true CONFIRM=production YES=true]
	@$(META_FLOWS) clean $(if $(filter all,$(ENV)),--all-environments,$(if $(ENV),--environment $(ENV))) \
		$(if $(PATTERN),--pattern '$(PATTERN)') $(DRY) $(SURE) $(if $(CONFIRM),--confirm $(CONFIRM)) $(THERE) $(OPTIONS)

reconcile: $(VENV)/run ## detect drift and repair it [ENV= POLICY=report]
	@$(META_FLOWS) reconcile $(if $(ENV),--environment $(ENV)) $(if $(POLICY),--policy $(POLICY)) $(THERE) $(OPTIONS)

rollback: $(VENV)/run ## restore an earlier release [ENV= TO= DRY_RUN=true YES=true]
	@$(META_FLOWS) rollback $(if $(ENV),--environment $(ENV)) $(if $(TO),--to $(TO)) $(DRY) $(SURE) $(THERE) $(OPTIONS)

register: $(VENV)/run ## deploy the meta-flows themselves, to run them from the UI and by schedule [ENV=staging|all DRY_RUN=true]
	@$(META_FLOWS) register $(if $(filter all,$(ENV)),--all-environments,$(if $(ENV),--environment $(ENV))) $(DRY) $(OPTIONS)

status: $(VENV)/run ## show sync status, health and next run of each deployment [ENV=]
	@$(META_FLOWS) status $(if $(ENV),--environment $(ENV)) $(OPTIONS)

check-ui: $(VENV)/run ## check that deployments are as released, scheduled, and seen in the UI [ENV= BROWSER=1]
	@$(META_FLOWS) check-ui $(if $(ENV),--environment $(ENV)) $(if $(filter true 1 yes,$(BROWSER)),--browser) $(OPTIONS)

releases: $(VENV)/run ## list recorded releases [ENV=]
	@$(META_FLOWS) releases $(if $(ENV),--environment $(ENV)) $(OPTIONS)

unlock: $(VENV)/run ## release a stale deploy lock [ENV= YES=true]
	@$(META_FLOWS) unlock $(if $(ENV),--environment $(ENV)) $(SURE) $(OPTIONS)

run: $(VENV)/run ## run a flow and follow it: FLOW=rpa1 [ENV= PARAMS="batch_size=10"]
	@$(META_FLOWS) run $(or $(FLOW),$(error say which: make run FLOW=rpa1)) $(if $(ENV),--environment $(ENV)) \
		$(if $(KIND),--kind $(KIND)) $(foreach param,$(PARAMS),--parameter '$(param)') $(OPTIONS)

worker: $(VENV)/run ## run a worker for each work pool of the environment [ENV=]
	@exec $(META_FLOWS) worker start $(if $(ENV),--environment $(ENV)) $(OPTIONS)

server: $(VENV)/run ## start a local Prefect server in the background, if none answers
	@$(META_FLOWS) server start $(if $(ENV),--environment $(ENV))

server-stop: $(VENV)/run ## stop the server that `make server` or `make deploy-all` started
	@$(META_FLOWS) server stop $(if $(ENV),--environment $(ENV))

# What the stack needs from this machine, unless .env has it already.
STACK = "POSTGRES_PASSWORD=$(RANDOM)" "REDIS_PASSWORD=$(RANDOM)" "PREFECT_API_AUTH_STRING=prefect:$(RANDOM)" \
	"REPOSITORY=$(CURDIR)" "WORKER_USER=$$(id -u):$$(id -g)" "DOCKER_GID=$$(stat -Lc %g /var/run/docker.sock)"
RANDOM = $$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')

.PHONY: up down logs
up: ## start the whole stack in containers, or bring it up to date: http://127.0.0.1:4200
	@umask 077; for each in $(STACK); do grep -qs "^$${each%%=*}=." .env || echo "$$each" >>.env; done
	@find .env \( -perm -040 -o -perm -004 \) -exec echo "warning: others can read the passwords in .env: chmod 600 .env" \; >&2
	@docker compose up --detach --build --wait

down: ## stop the stack; what it has stored stays
	@docker compose down

logs: ## follow the stack's logs [SERVICE=worker]
	@docker compose logs --follow --tail 100 $(SERVICE)

serve-flows serve-deployments: $(VENV)/run ## serve flows from one process, without a worker [FLOW=]
	@exec $(META_FLOWS) serve $(if $(ENV),--environment $(ENV)) $(foreach flow,$(FLOW),--flow '$(flow)') $(OPTIONS)

serve-%: $(VENV)/run ## serve one flow, e.g. serve-rpa1
	@exec $(META_FLOWS) serve --flow '$*' $(if $(ENV),--environment $(ENV)) $(OPTIONS)

# `make test` needs nothing but Python; what it leaves out takes processes, workers, containers, browsers, PostgreSQL.
# Files of those share what is slow to start, so they stay together; they wait as much as they compute, hence 3 processes.
ANYWHERE = --numprocesses auto --dist worksteal --durations 20 -m "not system"
TOGETHER = --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 20

test: $(VENV)/dev ## run the tests that need nothing but Python, in about 5 minutes [ARGS="-k plan"]
	@$(BIN)/pytest $(ANYWHERE) $(ARGS)

test-system: $(VENV)/dev ## run the other tests, and property tests with ten times the examples [ARGS="-k plan"]
	@META_FLOWS_ALL_EXAMPLES=1 $(BIN)/pytest $(TOGETHER) -m "system or hypothesis" $(ARGS)

test-all: test test-prefect-3.4 test-system ## run everything

# What depends on Prefect's version: the life of a deployment, and what is done by a server, a worker or Prefect's own code.
PREFECT_TESTS = $(addprefix tests/,system/prefect_versions/test_life_cycle.py unit/test_parameter_schemas.py unit/test_compat.py \
	system/operating/test_approval.py::$(APPROVED) server/flows/trading/test_polygon.py::$(SPACED) \
	$(patsubst %,server/deploying/test_%.py,deploy lock manifest releases store) \
	$(patsubst %,system/operating/test_%.py,running from_the_ui))
APPROVED = test_nothing_is_written_before_the_approval_and_the_plan_is_carried_out_after_it
SPACED = test_requests_are_spaced_out_by_the_prefect_server

test-prefect-3.4: BIN := $(VENV)-3.4/bin
test-prefect-3.4: $(VENV)-3.4/test ## run what depends on Prefect's version with client and server of 3.4 [ARGS="-k plan"]
	@$(BIN)/pytest $(TOGETHER) $(PREFECT_TESTS) $(ARGS)

lint: $(VENV)/dev ## formatting, lint, types and the import contract
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: $(VENV)/run ## what deploys cost, ours and stock Prefect's [N="10 100" DATABASE=sqlite|postgresql|both REPEAT=3]
	@$(BIN)/python -m benchmarks run $(or $(N),100) $(if $(DATABASE),--database $(DATABASE)) $(if $(REPEAT),--repeat $(REPEAT))

bench-chart: $(VENV)/bench ## draw what `make bench` has measured, for the README
	@$(BIN)/python -m benchmarks chart

install: $(VENV)/dev ## install everything for working on this project

# Installed from the hashed lock, with uv where it is there; a stamp for what is installed, renewed when the lock is.
# The lock is complete, so nothing is resolved again: older pips cannot, where a locked package is wanted with an extra.
$(VENV)/bin/python $(VENV)-3.4/bin/python: %/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "creating $* ..." >&2
	@$(if $(UV),$(UV) venv --quiet --python $$(command -v $(PYTHON)) $*,$(PYTHON) -m venv $*)

INSTALL = $(if $(UV),$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
COMPILE = $(BIN)/python -m compileall -q meta_flows # so that no command does it

$(VENV)/run: requirements.txt pyproject.toml | $(VENV)/bin/python
	@test -e $(VENV)/dev || { echo "installing Prefect and what it needs ..." >&2; \
		$(INSTALL) --no-deps --require-hashes -r requirements.txt; }
	@$(INSTALL) --no-deps --no-build-isolation -e . && $(COMPILE) && touch $@

$(VENV)/dev: requirements-dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the development tools ..." >&2
	@$(INSTALL) --no-deps --require-hashes -r requirements-dev.txt
	@$(INSTALL) --no-deps --no-build-isolation -e . && $(COMPILE) && touch $@ $(VENV)/run

$(VENV)-3.4/test: requirements-prefect-3.4.txt requirements-prefect-3.4-test.txt pyproject.toml | $(VENV)-3.4/bin/python
	@echo "installing Prefect 3.4 and what it needs ..." >&2
	@$(INSTALL) --no-deps --require-hashes -r requirements-prefect-3.4.txt -r requirements-prefect-3.4-test.txt
	@$(INSTALL) --no-deps --no-build-isolation -e . && touch $@

$(VENV)/bench: requirements-bench.txt | $(VENV)/run
	@$(INSTALL) --no-deps --require-hashes -r requirements-bench.txt && touch $@

lock: ## renew the locks; needs uv
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --upgrade \
		pyproject.toml requirements.in -o requirements.txt
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --upgrade \
		pyproject.toml requirements.in --extra browser --group dev -o requirements-dev.txt
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --upgrade \
		--group bench -c requirements-dev.txt -o requirements-bench.txt
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --upgrade \
		pyproject.toml requirements-prefect-3.4.in -o requirements-prefect-3.4.txt
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --upgrade \
		--group test -c requirements-prefect-3.4.txt -o requirements-prefect-3.4-test.txt
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --upgrade \
		pyproject.toml requirements.in --extra stack -c requirements-dev.txt -o requirements-stack.txt
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --upgrade \
		flows/requirements.in -c requirements.txt -o flows/requirements.txt

docs: $(VENV)/dev ## renew the generated parts of docs/
	@$(BIN)/python docs/generate.py

screenshots: $(VENV)/dev ## renew the pictures of the UI in docs/; needs Chromium
	@$(BIN)/python -m docs.screenshots
