# SpatialAlign: every task of the repository is a target here; `make help` lists them.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/spatialalign

# Tools are pinned by hack/tools/*/go.mod and built once per digest of that module, outside the checkout, so that
# clones share them and a changed pin rebuilds exactly the tools it concerns.
tool-dir = $(CACHE)/tools/$(1)-$(shell cat hack/tools/$(1)/*.go hack/tools/$(1)/go.mod hack/tools/$(1)/go.sum 2>/dev/null | sha256sum | cut -c1-16)

CONTROLLER_GEN := $(call tool-dir,generate)/controller-gen

##@ General

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Generated code

.PHONY: generate
generate: manifests ## Regenerate deep-copy functions and CRDs from api/
	$(CONTROLLER_GEN) object paths=./api/...

.PHONY: manifests
manifests: $(CONTROLLER_GEN) ## Regenerate the CRDs (config/crd/bases) and the chart's copy of them
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	@mkdir -p charts/spatialalign/crds
	@rm -f charts/spatialalign/crds/*.yaml
	cp config/crd/bases/*.yaml charts/spatialalign/crds/

##@ Tools

$(CONTROLLER_GEN): export CGO_ENABLED = 0
$(CONTROLLER_GEN):
	go -C hack/tools/generate build -trimpath -ldflags '-s -w' -o $@ sigs.k8s.io/controller-tools/cmd/controller-gen
