#!/usr/bin/env bash
# Tests the GPU worker on a CPU: style, types, its own tests, and the stage contract's conformance suite.
#   worker/wan/hack/test.sh [pytest's arguments]
# Leaves the counts in .local/test/worker.json, in go test's form, from which hack/test.sh counts.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(git rev-parse --show-toplevel)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/spatialalign/wan

python=$(hack/venv.sh "$cache")
events=$root/.local/test/worker.json
mkdir -p "${events%/*}"
rm -f "$events"
export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
status=0

"$python" -m ruff check --no-cache . || status=1
"$python" -m ruff format --no-cache --check --quiet . || { echo "not formatted: ruff format worker/wan" >&2; status=1; }
"$python" -m mypy --cache-dir "${python%/bin/python}/mypy" || status=1

junit=$(mktemp)
trap 'rm -f "$junit"' EXIT
"$python" -m pytest --durations 5 --junit-xml "$junit" "$@" || status=1
"$python" hack/events.py <"$junit" >"$events"

WAN_PYTHON=$python "${GOTESTSUM:?run this through make, which builds the pinned gotestsum}" --format pkgname --jsonfile "$events.go" -- \
  -tags wan -count=1 -timeout 20m . || status=1
cat "$events.go" >>"$events"
rm -f "$events.go"
exit $status
