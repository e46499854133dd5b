# The local cluster: see docs/local-cluster.md. Included by the Makefile at the root of the checkout.

LOCALCLUSTER := bin/localcluster

##@ Local cluster

# One driver for all of these; it builds the cluster's programs itself and caches them outside of the checkout.
$(LOCALCLUSTER): hack/localcluster/go.mod hack/localcluster/go.sum $(shell find hack/localcluster/cluster -type f)
	@echo "building $@"
	@CGO_ENABLED=0 GOFLAGS= GOWORK=off GOGC=400 go -C hack/localcluster build -trimpath -buildvcs=false -ldflags '-s -w' -o $(abspath $@) ./cluster

.PHONY: cluster-up
cluster-up: $(LOCALCLUSTER) ## Build what is missing and start the local Kubernetes (Linux, root); KUEUE=1 adds Kueue, KWOK=1 a node that does not exist
	@$(LOCALCLUSTER) up $(if $(filter-out 0,$(KUEUE)),--kueue) $(if $(filter all-jobs,$(KUEUE)),--kueue-all-jobs) $(if $(KWOK),--kwok=$(KWOK))

.PHONY: cluster-down
cluster-down: $(LOCALCLUSTER) ## Stop the local Kubernetes and delete its data
	@$(LOCALCLUSTER) down

.PHONY: cluster-status
cluster-status: $(LOCALCLUSTER) ## Tell whether the local Kubernetes runs, and where
	@$(LOCALCLUSTER) status

.PHONY: envtest-assets
envtest-assets: $(LOCALCLUSTER) ## Build etcd, kube-apiserver and kubectl; print their folder for KUBEBUILDER_ASSETS
	@$(LOCALCLUSTER) assets
