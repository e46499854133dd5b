#!/usr/bin/env bash
# Runs one part of the Go tests and leaves its events in .local/test/<part>.json, from which hack/test.sh counts:
#   hack/gotest.sh unit|controls|modules|envtest|faults|monitoring|e2e|quota [flags of go test]
# Failures are printed in full. GOTESTSUM names the pinned runner (make sets it).
set -euo pipefail
cd "$(dirname "$0")/.."

part=$1
shift
events=$PWD/.local/test/$part.json
mkdir -p "${events%/*}"
rm -f "$events"

# run FOLDER EVENTS ARGUMENTS: go test in the module of a folder.
run() {
  (cd "$1" && "${GOTESTSUM:?run this through make, which builds the pinned gotestsum}" \
    --format pkgname --format-hide-empty-pkg --jsonfile "$2" -- "${@:3}")
}

case "$part" in
  e2e | faults | monitoring | quota) run . "$events" "$@" "./test/$part/..." ;;
  modules)
    status=0
    for module in $(hack/packages.sh modules); do
      # They read files of the whole repository, which go's cache of results does not look at.
      run "$module" "$events.one" -count=1 "$@" ./... || status=1
      cat "$events.one" >>"$events"
      rm "$events.one"
    done
    exit $status
    ;;
  *)
    mapfile -t packages < <(hack/packages.sh "$part")
    if [ "${#packages[@]}" -eq 0 ]; then
      echo "gotest: no package belongs to the part $part (see hack/packages.sh)" >&2
      exit 1
    fi
    run . "$events" "$@" "${packages[@]}"
    ;;
esac
