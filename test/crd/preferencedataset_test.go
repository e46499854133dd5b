package crd

import (
	"fmt"
	"testing"
)

func TestPreferenceDataset(t *testing.T) {
	dataset := document(t, "config/samples/preferencedataset.yaml", "PreferenceDataset")
	imported := changed(t, dataset, `spec: {sources: null, pairing: null, import: {key: pairs.jsonl}}`)
	testNames(t, dataset)
	testValues(t, dataset, "spec.runtimeRef.name", subdomains, noSubdomains)
	testValues(t, imported, "spec.import.key", keys, noKeys)
	testValues(t, imported, "spec.import.digest", digests, noDigests)
	testValues(t, with(t, dataset, "spec.pairing.loserThreshold", "0"), "spec.pairing.winnerThreshold", fractions, noFractions)
	testValues(t, with(t, dataset, "spec.pairing.winnerThreshold", "1"), "spec.pairing.loserThreshold", fractions, noFractions)
	testBounds(t, dataset, []bound{{"spec.retries", 0, 10}})
	testRequired(t, dataset, "spec", "spec.runtimeRef", "spec.runtimeRef.name")
	create(t, dataset, []creation{
		{"import instead of sources", `spec: {sources: null, pairing: null, import: {key: pairs.jsonl}}`, ""},
		{"sources of iterations", `spec: {sources: [{scoringBatch: a, iteration: 1}, {scoringBatch: b, iteration: 2}]}`, ""},
		{"a hundred sources", sources(100), ""},
		{"neither sources nor import", `spec: {sources: null}`, "exactly one of sources and import must be set"},
		{"both sources and import", `spec: {import: {key: pairs.jsonl}}`, "exactly one of sources and import must be set"},
		{"import with pairing rules", `spec: {sources: null, import: {key: pairs.jsonl}}`, "imported pairs are taken as they are"},
		{"two sources of one iteration", `spec: {sources: [{scoringBatch: a}, {scoringBatch: b}]}`, "each source must have an iteration of its own"},
		{"too high an iteration", `spec: {sources: [{scoringBatch: a, iteration: 1048577}]}`, "spec.sources[0].iteration in body should be less than or equal to 1048576"},
		{"no sources", `spec: {sources: []}`, "spec.sources in body should have at least 1 items"},
		{"too many sources", sources(101), "spec.sources: Too many: 101: must have at most 100 items"},
		{"a source twice", `spec: {sources: [{scoringBatch: a}, {scoringBatch: a, iteration: 1}]}`, "spec.sources[1]: Duplicate value"},
		{"a source without a name", `spec: {sources: [{iteration: 1}]}`, "spec.sources[0].scoringBatch: Required value"},
		{"a source in another namespace", `spec: {sources: [{scoringBatch: other/a}]}`, "spec.sources[0].scoringBatch"},
		{"a source with too long a name", fmt.Sprintf(`spec: {sources: [{scoringBatch: %s}]}`, long(64)), "spec.sources[0].scoringBatch: Too long"},
		{"a negative iteration", `spec: {sources: [{scoringBatch: a, iteration: -1}]}`, "spec.sources[0].iteration in body should be greater than or equal to 0"},
		{"winner below loser", `spec: {pairing: {winnerThreshold: "0.1", loserThreshold: "0.2"}}`, "winnerThreshold must be at least loserThreshold"},
		{"an unknown field", `spec: {imports: {key: a}}`, `unknown field "spec.imports"`},
	})
}

func sources(n int) string {
	return "spec: {sources: [" + repeated(n, "{scoringBatch: b%d, iteration: %[1]d}") + "]}"
}
