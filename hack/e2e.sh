#!/usr/bin/env bash
# Runs the end-to-end test on the local cluster, and stops the cluster afterwards if it was this script that started it.
# Exit status 77: this machine cannot run the local cluster, nothing was tested.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ] || [ "$(id -u)" -ne 0 ]; then
  echo "e2e: the local cluster needs Linux and root; with the operator on a cluster of your" >&2
  echo "     own, run KUBECONFIG=... go test -tags e2e -skip /interrupted ./test/e2e/... instead" >&2
  exit 77
fi

export KUBECONFIG=$PWD/.local/cluster/kubeconfig
running() { [ -f "$KUBECONFIG" ] && make -s cluster-status >/dev/null 2>&1; }

if ! running; then
  trap 'make cluster-down' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
fi
make cluster-up deploy
export E2E_REPORT=$PWD/.local/test/e2e.txt
rm -f "$E2E_REPORT"
status=0
hack/gotest.sh e2e -tags e2e -count=1 -timeout 30m || status=$?
if [ -f "$E2E_REPORT" ]; then cat "$E2E_REPORT"; fi # what was interrupted, and what came of it
exit "$status"
