#!/usr/bin/env bash
# Runs one part of the Go tests and leaves its events in .local/test/<part>.json, from which hack/test.sh counts:
#   hack/gotest.sh unit|controls|envtest|e2e [flags of go test]
# Failures are printed in full. GOTESTSUM names the pinned runner (make sets it).
set -euo pipefail
cd "$(dirname "$0")/.."

part=$1
shift
case "$part" in
  e2e) packages=(./test/e2e/...) ;;
  *)
    mapfile -t packages < <(hack/packages.sh "$part")
    if [ "${#packages[@]}" -eq 0 ]; then
      echo "gotest: no package belongs to the part $part (see hack/packages.sh)" >&2
      exit 1
    fi
    ;;
esac

mkdir -p .local/test
rm -f ".local/test/$part.json"
exec "${GOTESTSUM:?run this through make, which builds the pinned gotestsum}" \
  --format pkgname --format-hide-empty-pkg --jsonfile ".local/test/$part.json" -- "$@" "${packages[@]}"
