#!/usr/bin/env bash
# Plays docs/admin.md on the local cluster, with Kueue, 8 fake GPUs and a node that does not exist, and stops the cluster
# afterwards if it was this script that started it: half an hour. It is no part of `make test`: run it before a release, and when
# quotas, queues, trainings on several nodes, runtime policy, docs/admin.md or its manifests change.
#   ITEMS=<regular expression of tests>  some scenarios only: ITEMS='^TestGuide$'
#   QUOTA=full                           the crowds of runs with pods of 30 to 120 s, as docs/benchmarks.md shows them, not of 3 to
#                                        12 s: up to three hours
# Exit status 77: this machine cannot run the local cluster, nothing was tested.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ] || [ "$(id -u)" -ne 0 ]; then
  echo "quota: the local cluster needs Linux and root" >&2
  exit 77
fi

export KUBECONFIG=$PWD/.local/cluster/kubeconfig
running() { [ -f "$KUBECONFIG" ] && make -s cluster-status >/dev/null 2>&1; }

if ! running; then
  trap 'make cluster-down' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
fi
make bin/localcluster
bin/localcluster up --gpus 8 --kueue --kwok 1 # one that runs with other GPUs starts again, with its data
make deploy
eval "$(bin/localcluster env)"
export QUOTA_REPORT=$PWD/.local/test/quota.txt
mkdir -p "${QUOTA_REPORT%/*}"
rm -f "$QUOTA_REPORT"
timeout=90m
[ "${QUOTA:-}" = full ] && timeout=3h
status=0
hack/gotest.sh quota -tags quota -count=1 -timeout "$timeout" ${ITEMS:+-run "$ITEMS"} || status=$?
if [ -f "$QUOTA_REPORT" ]; then cat "$QUOTA_REPORT"; fi # how long what took
exit "$status"
