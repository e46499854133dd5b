# SpatialAlign: every task of the repository is a target here; `make help` lists them.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/spatialalign

# Each tool is pinned by a module of its own, hack/tools/<tool>/go.mod, and built once per digest of that module and Go
# version, outside the checkout: clones share the binary, and a changed pin rebuilds only the tool it concerns.
GO_VERSION := $(shell go env GOVERSION)
tool = $(CACHE)/tools/$(1)-$(shell { echo $(GO_VERSION); cat hack/tools/$(1)/go.*; } | sha256sum | cut -c1-16)/$(1)

CONTROLLER_GEN := $(call tool,controller-gen)
GOLANGCI_LINT  := $(call tool,golangci-lint)
GOTESTSUM      := $(call tool,gotestsum)

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

# The rule for every tool: its module names exactly one package with a `tool` line.
$(CONTROLLER_GEN) $(GOLANGCI_LINT) $(GOTESTSUM): export CGO_ENABLED = 0
$(CONTROLLER_GEN) $(GOLANGCI_LINT) $(GOTESTSUM):
	@echo "building $(notdir $@) (once per version)"
	go -C hack/tools/$(notdir $@) build -trimpath -ldflags '-s -w' -o $@ $$(cd hack/tools/$(notdir $@) && awk '$$1 == "tool" {print $$2}' go.mod)
