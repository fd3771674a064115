# Everything is done by platform/hailstorm_platform; this file only names it.
# What each target leaves behind lies under .hailstorm/.

PLATFORM = PYTHONPATH=platform python3 -m hailstorm_platform

.DEFAULT_GOAL := help
.PHONY: help doctor venv lock tools cluster images demo demo-twin drill drain-test example footprint operator-footprint compare bench seed \
	test unit lint protos verify-protos down clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

##@ use
doctor: ## say what this machine has and what it lacks
	@$(PLATFORM) doctor

demo: doctor ## a cluster, both charts, a rolling deploy under load, its verdict
	@$(PLATFORM) demo

demo-twin: doctor ## the same with drain and retries off: it must FAIL
	@$(PLATFORM) demo -- rolling-deploy --twin

drill: doctor ## any drill on the demo cluster: DRILL="kill-pod --twin"
	@$(PLATFORM) demo -- $(DRILL)

drain-test: doctor ## how long callers send to a pod that ends; DRAIN="--component location"
	@$(PLATFORM) drain-test -- $(DRAIN)

example: doctor ## an app that is not ours, behind the demo's edge: examples/fortio
	@$(PLATFORM) example

footprint: ## what the demo costs while nobody uses it
	@$(PLATFORM) footprint

compare: ## three autoscalers under one load; COMPARE="--shape spike --arms ours"
	@$(PLATFORM) compare -- $(COMPARE)

operator-footprint: ## what operator and recorder cost at 300 calls/s; writes docs/evidence
	@$(PLATFORM) operator-footprint

bench: ## measure the core against its limits; writes docs/evidence/core.json
	@$(PLATFORM) bench -- $(BENCH)

seed: ## load 5 million trips and 1 million riders; SEED="--dsn ..." says where
	@$(PLATFORM) seed -- $(SEED)

down: ## remove clusters, containers, network, firewall rule and our Docker daemon
	@$(PLATFORM) down

clean: ## down, and drop everything that was built or downloaded
	@$(PLATFORM) clean

##@ work on it
venv: ## install the locked dependencies into .hailstorm/venv
	@$(PLATFORM) venv

lint: ## ruff, mypy, import-linter, buf, helm lint, shellcheck, stubs
	@$(PLATFORM) lint

unit: ## tests/unit, tests/contract and tests/integration
	@$(PLATFORM) unit

test: ## every check and every layer of tests, on a kind cluster of its own
	@$(PLATFORM) test

protos: ## regenerate the stubs and the edge's descriptors
	@$(PLATFORM) protos

verify-protos: ## fail when a stub is not what its proto generates
	@$(PLATFORM) verify-protos

lock: ## resolve the dependencies anew into requirements/*.lock
	@$(PLATFORM) lock

##@ single steps
tools: ## build kind, helm and buf into .hailstorm/bin
	@$(PLATFORM) tools

cluster: ## the demo cluster alone
	@$(PLATFORM) cluster up

images: ## build our images and load them into the demo cluster
	@$(PLATFORM) images
