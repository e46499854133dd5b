#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 10s), one after the other, as go test allows one at a time. A finding is
# stored by go test under testdata/fuzz of its package: commit it with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."

status=0
for folder in $(hack/packages.sh fuzz); do
  for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$folder"/*_test.go | cut -d' ' -f2); do
    echo "=== $folder $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$folder" || status=1
  done
done
exit $status
