#!/usr/bin/env bash
# Prints the packages of one part of the tests, one a line:
#   unit      every package with tests but those of the parts below
#   controls  the synthetic runtime's learning experiments: minutes of arithmetic, tenfold under the race detector
#   envtest   packages whose tests start an API server: they say so by importing envtest, so nobody keeps a list; but
#             test/monitoring, a part of its own that needs Prometheus as well
#   modules   folders of the nested modules that have tests
#   go        folders of the nested modules that have Go files
#   benchmark, fuzz    folders that hold benchmarks, fuzz targets
set -euo pipefail
cd "$(dirname "$0")/.."

controls='/worker/synthetic/controls$'
monitoring='/test/monitoring$'

# with_tests prints "<package> <yes if its tests link envtest>" for every package of the root module that has tests.
with_tests() {
  go list -e -test -f '{{.ImportPath}} {{range .Deps}}{{if eq . "sigs.k8s.io/controller-runtime/pkg/envtest"}}yes{{end}}{{end}}' ./... |
    awk '$1 ~ /\.test$/ {sub(/\.test$/, "", $1); print $1, $2}'
}

# with_function prints the folders of test files that declare a function of this prefix.
with_function() {
  grep -rlE --include='*_test.go' --exclude-dir='.*' "^func $1[A-Z]" -- */ | xargs -r -n1 dirname | sort -u | sed 's|^|./|'
}

# modules_with prints the folders of nested modules that hold a file of this name pattern.
modules_with() {
  local module
  git ls-files --cached --others --exclude-standard '*/go.mod' | while IFS= read -r module; do
    module=${module%/go.mod}
    [ -z "$(find "$module" -name "$1" -print -quit)" ] || echo "$module"
  done
}

case "${1:-}" in
  unit) with_tests | awk -v controls="$controls" '$2 != "yes" && $1 !~ controls {print $1}' ;;
  controls) with_tests | awk -v controls="$controls" '$1 ~ controls {print $1}' ;;
  envtest) with_tests | awk -v monitoring="$monitoring" '$2 == "yes" && $1 !~ monitoring {print $1}' ;;
  modules) modules_with '*_test.go' ;;
  go) modules_with '*.go' ;;
  benchmark) with_function Benchmark ;;
  fuzz) with_function Fuzz ;;
  *) echo "usage: hack/packages.sh unit|controls|envtest|modules|go|benchmark|fuzz" >&2; exit 2 ;;
esac
