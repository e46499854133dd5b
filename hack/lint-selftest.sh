#!/usr/bin/env bash
# Proves that the architecture rules of .golangci.yml bite: lints a scratch module of violations, one per file, and
# compares what is found with what each file says it breaks. Files that say nothing must stay without findings.
# GOLANGCI_LINT names the pinned linter (make sets it).
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=.local/lint-selftest
rm -rf "$scratch"
mkdir -p "$scratch"
cp go.mod go.sum .golangci.yml "$scratch"
cd "$scratch"
module=$(awk '$1 == "module" {print $2}' go.mod)
: >expected

# add FILE LINTER IMPORT CODE: a file of the package that its folder names, which LINTER (or -) must complain about.
add() {
  local folder package
  folder=$(dirname "$1")
  package=$(basename "$folder")
  mkdir -p "$folder"
  [ -f "$folder/doc.go" ] || printf '// Package %s is a specimen.\npackage %s\n' "$package" "$package" >"$folder/doc.go"
  printf 'package %s\n\nimport %s // by design\n\n%s\n' "$package" "$3" "$4" >"$1"
  [ "$2" = - ] || echo "$1 $2" >>expected
}

# Packages of ours that the violations import.
for package in internal/artifact internal/stage internal/plan internal/jobs internal/dsr controllers worker/specimen; do
  mkdir -p "$package"
  printf '// Package %s is a specimen.\npackage %s\n' "$(basename $package)" "$(basename $package)" >"$package/doc.go"
done

client='_ "sigs.k8s.io/controller-runtime/pkg/client"'
kubernetes='_ "k8s.io/client-go/rest"'
store='_ "gocloud.dev/blob"'
artifact="_ \"$module/internal/artifact\""
stage="_ \"$module/internal/stage\""
controllers="_ \"$module/controllers\""

for core in internal/dsr internal/pairing internal/compare internal/contract; do
  add $core/outside.go depguard '_ "sigs.k8s.io/yaml"' ''
  add $core/ours.go depguard "$artifact" ''
  add $core/standard.go - '"math"' 'var _ = math.Pi'
  add $core/allowed_test.go - '_ "pgregory.net/rapid"' ''
done
for pure in internal/plan internal/jobs internal/quota; do
  add $pure/client.go depguard "$client" ''
  add $pure/clientgo.go depguard "$kubernetes" ''
  add $pure/context.go depguard '"context"' 'var _ = context.Canceled'
  add $pure/store.go depguard "$store" ''
  add $pure/controllers.go depguard "$controllers" ''
  add $pure/now.go forbidigo '"time"' 'var _ = time.Now()'
  add $pure/since.go forbidigo 'clock "time"' 'var _ = clock.Since(clock.Time{})'
  add $pure/metav1.go forbidigo 'metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"' 'var _ = metav1.Now()'
  add $pure/environment.go forbidigo '"os"' 'var _ = os.Getenv("HOME")'
  add $pure/allowed.go - 'batchv1 "k8s.io/api/batch/v1"' 'var _ batchv1.Job'
done
add controllers/artifact.go depguard "$artifact" ''
add controllers/stage.go depguard "$stage" ''
add controllers/store.go depguard "$store" ''
add controllers/driver.go depguard '_ "gocloud.dev/blob/fileblob"' ''
add controllers/worker.go depguard "_ \"$module/worker/specimen\"" ''
add controllers/allowed.go - '"time"' 'var _ = time.Now()'
add worker/synthetic/controllers.go depguard "$controllers" ''
add worker/synthetic/plan.go depguard "_ \"$module/internal/plan\"" ''
add worker/synthetic/client.go depguard "$client" ''
add worker/synthetic/allowed.go - "$artifact" ''
add api/v1alpha1/ours.go depguard "_ \"$module/internal/plan\"" ''
for name in util common constants helpers; do
  add internal/$name/name.go revive '_ "embed"' ''
  rm internal/$name/doc.go
done
add internal/long/long.go revive '_ "embed"' "$(yes '// Too long.' | head -n 400)"
add internal/undocumented/exported.go revive '_ "embed"' 'func Exported() {}'
add internal/unchecked/file.go errcheck '"os"' 'func write() { os.WriteFile("", nil, 0) }

var _ = write'
add internal/silenced/nolint.go nolintlint '"os"' 'func write() {
	os.WriteFile("", nil, 0) //nolint:errcheck
}

var _ = write'

# The API linter: a list without its type, and a phase, which is the one thing allowed.
add api/v1alpha1/specimen.go kubeapilinter 'metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"' '// Broken breaks the conventions.
type Broken struct {
	metav1.TypeMeta `json:",inline"`

	// names has no list type.
	// +optional
	Names []string `json:"names,omitempty"`
}'
add api/v1alpha1/phase.go - '_ "embed"' '// SpecimenStatus has a phase.
type SpecimenStatus struct {
	// phase is one word for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Phase string `json:"phase,omitempty"`
}'

gofmt -w .
"${GOLANGCI_LINT:?run this through make, which builds the pinned linter}" run --output.text.path stdout \
  --output.text.print-issued-lines=false --output.text.colors=false --show-stats=false ./... >report || [ $? -eq 1 ]

# "path:line:col: message (linter)" becomes "path linter"; a package is named by all of its files, and so is complained
# about in any one of them.
sed -nE 's/^([^: ]+):[0-9:]+ .*\(([a-z]+)\)$/\1 \2/p' report | sort -u >found
sort -u -o expected expected
if ! diff expected found; then
  echo "lint-selftest: '<' a rule did not bite, '>' a finding that no violation explains; all findings:" >&2
  cat report >&2
  exit 1
fi
echo "lint-selftest: $(wc -l <expected) violations found, nothing else"
