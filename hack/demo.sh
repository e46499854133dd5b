#!/usr/bin/env bash
# From nothing to an aligned model: a real one-node Kubernetes, the operator from its chart, config/samples/first-run.yaml
# with live progress, and a report. The cluster stays up.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
run=first-run namespace=alignment report=demo-report

say "A one-node Kubernetes (the first time, it is built from source: some minutes)"
make cluster-up
say "The operator, from its Helm chart"
make deploy
eval "$(bin/localcluster env)"

if kubectl -n "$namespace" get alignmentrun "$run" >/dev/null 2>&1; then
  say "Deleting the run of an earlier demo (its samples stay in the store, and are found again)"
  kubectl -n "$namespace" delete alignmentrun "$run"
fi
say "kubectl -n $namespace apply -f config/samples/first-run.yaml"
cat config/samples/first-run.yaml
kubectl -n "$namespace" apply -f config/samples/first-run.yaml
bin/kubectl-align watch "$run" -n "$namespace" --timeout 15m

say "The report"
rm -rf "$report"
bin/kubectl-align report "$run" -n "$namespace" -o "$report"

cat <<END

The report is in $report/index.html. The cluster stays up; look around with

  eval "\$(bin/localcluster env)"                          # kubectl, helm and KUBECONFIG of the local cluster
  export PATH="\$PWD/bin:\$PATH"                           # kubectl align
  kubectl -n $namespace get alignmentrun,scoringbatch,preferencedataset,jobs
  kubectl -n $namespace describe alignmentrun $run
  kubectl -n $namespace get alignmentrun $run -o yaml
  kubectl -n spatialalign-system logs deploy/spatialalign-operator

and stop it with

  make cluster-down
END
