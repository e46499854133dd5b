#!/usr/bin/env bash
# Checks what needs no test: generated files are what their sources generate, Go files are formatted and pass vet, go.mod
# is tidy, shell scripts parse. Changes nothing in the checkout. CONTROLLER_GEN names the pinned generator (make sets it).
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
complain() { echo "verify: $*" >&2; failed=1; }

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"${CONTROLLER_GEN:?run this through make, which builds the pinned controller-gen}" \
  object crd paths=./api/... output:object:dir="$fresh/object" output:crd:artifacts:config="$fresh/crd"
diff -u api/v1alpha1/zz_generated.deepcopy.go "$fresh/object/zz_generated.deepcopy.go" ||
  complain "api/v1alpha1/zz_generated.deepcopy.go is stale: run make generate and commit the result"
for copy in config/crd/bases charts/spatialalign/crds; do
  diff -ru "$copy" "$fresh/crd" || complain "$copy is stale: run make generate and commit the result"
done

mapfile -t go_files < <(git ls-files --cached --others --exclude-standard '*.go')
unformatted=$(gofmt -l "${go_files[@]}")
[ -z "$unformatted" ] || complain "not formatted, run make fmt: $unformatted"

go vet -tags e2e,faults,quota,wan ./... || complain "go vet has findings"
go mod tidy -diff || complain "go.mod or go.sum is not tidy: run go mod tidy and commit the result"

while IFS= read -r script; do
  bash -n "$script" || complain "$script does not parse"
done < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)

[ "$failed" -eq 0 ] && echo "verify: generated files, formatting, vet, go.mod and scripts are in order"
