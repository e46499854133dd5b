#!/usr/bin/env bash
# Runs test/faults: the operator (bin/spatialalign) against a real API server and controller manager, with faults between them.
# Ends with a line per item of docs/reliability.md. FAULTS=full runs every item at its full number, which takes hours;
# ITEMS=<regular expression of tests> runs some only. Logs of every process stay in .local/test/faults.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${KUBEBUILDER_ASSETS:?run this through make test-faults, which builds the operator and the API server}"
mkdir -p .local/test
export FAULTS_REPORT=$PWD/.local/test/faults.txt
rm -f "$FAULTS_REPORT"

timeout=45m # on a machine that has much else to do
[ "${FAULTS:-}" = full ] && timeout=6h
status=0
# The test process plays every kubelet: less garbage collection leaves more of the machine to what is tested.
export GOGC=400
# Items mostly wait, each for its own faults: so many runs side by side keep two cores busy, and starve none.
hack/gotest.sh faults -tags faults -count=1 -parallel 18 -timeout "$timeout" ${ITEMS:+-run "$ITEMS"} || status=$?
cat "$FAULTS_REPORT" || status=1
exit "$status"
