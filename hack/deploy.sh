#!/usr/bin/env bash
# Builds the images, hands them to the running local cluster, and installs the operator from its chart.
set -euo pipefail
cd "$(dirname "$0")/.."

make bin/localcluster build
eval "$(bin/localcluster env)"

load() { bin/localcluster image load --name "spatialalign.local/$1:dev" --binary "bin/$2" --entrypoint "/$2"; }
load operator spatialalign
load synthetic synthetic

# helm installs the CRDs of a chart once and never again: apply, so that a newer checkout brings its own.
kubectl apply --server-side --force-conflicts -f charts/spatialalign/crds
# The images keep their tag while their content changes: the annotation makes a new pod of a new binary.
helm upgrade --install spatialalign charts/spatialalign \
  --namespace spatialalign-system --create-namespace \
  --set-string "podAnnotations.binary=$(sha256sum bin/spatialalign | cut -c1-16)" \
  --wait --timeout 2m >/dev/null
kubectl apply -f config/samples/namespace-ready.yaml
