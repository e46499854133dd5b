# SpatialAlign: every task of the repository is a target here; `make help` lists them.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Static and free of this machine's paths: the binaries are the only thing in their images.
VERSION  ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
GO_BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/spatialalign

# Each tool is pinned by a module of its own, hack/tools/<tool>/go.mod, and built once per digest of that module and Go
# version, outside the checkout: clones share the binary, and a changed pin rebuilds only the tool it concerns.
GO_VERSION := $(shell go env GOVERSION)
tool = $(CACHE)/tools/$(1)-$(shell { echo $(GO_VERSION); cat hack/tools/$(1)/go.*; } | sha256sum | cut -c1-16)/$(1)

CONTROLLER_GEN := $(call tool,controller-gen)
GOLANGCI_LINT  := $(call tool,golangci-lint)
GOTESTSUM      := $(call tool,gotestsum)
export GOTESTSUM

##@ General

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/spatialalign, bin/synthetic and bin/kubectl-align
	$(GO_BUILD) -o bin/spatialalign .
	$(GO_BUILD) -o bin/synthetic ./worker/synthetic
	$(GO_BUILD) -o bin/kubectl-align ./cmd/kubectl-align

.PHONY: demo
demo: ## From nothing to an aligned model on a local Kubernetes, with a report
	@hack/demo.sh

.PHONY: deploy
deploy: ## Build the images and install the operator into the running local cluster
	@hack/deploy.sh

.PHONY: clean
clean: ## Remove what was built in this checkout (not the shared cache, not a running cluster)
	rm -rf bin dist demo-report .local/test .local/lint-selftest

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

.PHONY: synthetic-base
synthetic-base: ## Train the synthetic runtime's embedded base weights again
	go run ./worker/synthetic/base/cmd --out worker/synthetic/base/base.safetensors

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the Go files and group their imports
	$(GOLANGCI_LINT) fmt

##@ Tests

.PHONY: test
test: $(CONTROLLER_GEN) $(GOLANGCI_LINT) $(GOTESTSUM) bin/localcluster ## Run every test but test-monitoring and test-quota, and end with a table of them
	@hack/test.sh

.PHONY: verify
verify: $(CONTROLLER_GEN) ## Check generated files, formatting, vet, go.mod and scripts
	@CONTROLLER_GEN=$(CONTROLLER_GEN) hack/verify.sh

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run golangci-lint with the Kubernetes API linter, and prove that its rules bite
	@GOLANGCI_LINT=$(GOLANGCI_LINT) hack/lint-selftest.sh
	@status=0; for module in . $$(hack/packages.sh go); do \
		echo "lint: $$module"; (cd $$module && $(GOLANGCI_LINT) run ./...) || status=1; \
	done; exit $$status

.PHONY: test-unit
test-unit: $(GOTESTSUM) ## Run the unit tests under the race detector
	@hack/gotest.sh unit -race -timeout 20m

.PHONY: test-controls
test-controls: $(GOTESTSUM) ## Run the synthetic runtime's learning experiments
	@hack/gotest.sh controls -timeout 30m

.PHONY: test-modules
test-modules: $(GOTESTSUM) ## Run the tests of the nested modules: the chart, the local cluster
	@hack/gotest.sh modules -timeout 20m

.PHONY: test-envtest
test-envtest: $(GOTESTSUM) envtest-assets ## Run the tests against a real API server
	@KUBEBUILDER_ASSETS="$$($(LOCALCLUSTER) assets)" hack/gotest.sh envtest -race -timeout 20m

.PHONY: test-faults
test-faults: $(GOTESTSUM) envtest-assets ## Replay faults against the real operator and API server (FAULTS=full: the long form)
	$(GO_BUILD) -o bin/spatialalign .
	@KUBEBUILDER_ASSETS="$$($(LOCALCLUSTER) assets kube-controller-manager)" hack/faults.sh

.PHONY: test-monitoring
test-monitoring: $(GOTESTSUM) envtest-assets ## Let a real Prometheus scrape the operator, and answer what dashboard, alerts and docs ask
	@KUBEBUILDER_ASSETS="$$($(LOCALCLUSTER) assets)" PROMETHEUS="$$($(LOCALCLUSTER) tool prometheus)" hack/gotest.sh monitoring -timeout 20m

.PHONY: test-e2e
test-e2e: $(GOTESTSUM) ## Run the end-to-end test on the local cluster (Linux, root)
	@hack/e2e.sh

.PHONY: test-quota
test-quota: $(GOTESTSUM) ## Play the admin guide on the local cluster with Kueue, before a release (half an hour; ITEMS=TestGuide: some of it; QUOTA=full: pods as long as in docs/benchmarks.md; Linux, root)
	@hack/quota.sh

.PHONY: test-worker
test-worker: $(GOTESTSUM) ## Run the GPU worker's tests on the CPU, with tiny models (installs PyTorch without CUDA once)
	@worker/wan/hack/test.sh

.PHONY: bench
bench: ## Run the Go benchmarks
	go test -run '^$$' -bench . -benchmem $$(hack/packages.sh benchmark)

.PHONY: bench-loop
bench-loop: envtest-assets ## Measure what the loop costs, against a bare program that creates the same Jobs (10 minutes, a quiet machine)
	$(GO_BUILD) -o bin/spatialalign .
	@KUBEBUILDER_ASSETS="$$($(LOCALCLUSTER) assets kube-controller-manager)" CGO_ENABLED=0 \
		go test -trimpath -tags faults -run '^$$' -bench Loop -benchtime 1x -timeout 60m ./test/faults

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s)
	@hack/fuzz.sh

-include hack/localcluster/cluster.mk

# The rule for every tool: its module names exactly one package with a `tool` line.
$(CONTROLLER_GEN) $(GOLANGCI_LINT) $(GOTESTSUM): export CGO_ENABLED = 0
$(CONTROLLER_GEN) $(GOLANGCI_LINT) $(GOTESTSUM):
	@echo "building $(notdir $@) (once per version)"
	go -C hack/tools/$(notdir $@) build -trimpath -ldflags '-s -w' -o $@ $$(cd hack/tools/$(notdir $@) && awk '$$1 == "tool" {print $$2}' go.mod)
