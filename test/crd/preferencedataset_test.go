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
	testValues(t, dataset, "spec.pairing.minMargin", fractions, noFractions)
	extending := changed(t, dataset, `spec: {extends: {key: pairs.jsonl}}`)
	testValues(t, extending, "spec.extends.key", keys, noKeys)
	testValues(t, extending, "spec.extends.digest", digests, noDigests)
	testBounds(t, dataset, []bound{{"spec.retries", 0, 10}, {"spec.pairing.maxPairsPerPrompt", 1, 1_000_000}})
	testRequired(t, dataset, "spec", "spec.runtimeRef", "spec.runtimeRef.name")
	testRequired(t, extending, "spec.extends.key")
	create(t, dataset, []creation{
		{"import instead of sources", `spec: {sources: null, pairing: null, import: {key: pairs.jsonl}}`, ""},
		{"sources of iterations", `spec: {sources: [{scoringBatch: a, iteration: 1}, {scoringBatch: b, iteration: 2}]}`, ""},
		{"a hundred sources", sources(100), ""},
		{"neither sources nor import", `spec: {sources: null}`, "exactly one of sources and import must be set"},
		{"both sources and import", `spec: {import: {key: pairs.jsonl}}`, "exactly one of sources and import must be set"},
		{"import with pairing rules", `spec: {sources: null, import: {key: pairs.jsonl}}`, "imported pairs are taken as they are"},
		{"sources of one iteration", `spec: {sources: [{scoringBatch: a, iteration: 1}, {scoringBatch: b, iteration: 1}]}`, ""},
		{"scores of the store", `spec: {sources: [{scores: {key: runs/a/scores.jsonl}, iteration: 0}]}`, ""},
		{"scores outside of the store", `spec: {sources: [{scores: {key: ../scores.jsonl}, iteration: 0}]}`, "spec.sources[0].scores.key"},
		{"scores and a batch in one source", `spec: {sources: [{scoringBatch: a, scores: {key: s.jsonl}, iteration: 0}]}`, "spec.sources[0]: Invalid value: exactly one of scoringBatch and scores must be set"},
		{"a source without an iteration", `spec: {sources: [{scoringBatch: a}]}`, "spec.sources[0].iteration: Required value"},
		{"too high an iteration", `spec: {sources: [{scoringBatch: a, iteration: 1048577}]}`, "spec.sources[0].iteration in body should be less than or equal to 1048576"},
		{"no sources", `spec: {sources: []}`, "spec.sources in body should have at least 1 items"},
		{"too many sources", sources(101), "spec.sources: Too many: 101: must have at most 100 items"},
		{"a source without scores", `spec: {sources: [{iteration: 1}]}`, "spec.sources[0]: Invalid value: exactly one of scoringBatch and scores must be set"},
		{"an import that extends", `spec: {sources: null, pairing: null, import: {key: a.jsonl}, extends: {key: pairs.jsonl}}`, "extends adds to sources; an import is taken as it is"},
		{"an extension of nothing", `spec: {sources: null, extends: {key: pairs.jsonl}}`, "exactly one of sources and import must be set"},
		{"pairing without thresholds", `spec: {pairing: {winnerThreshold: null, loserThreshold: null, minMargin: "0.1"}}`, ""},
		{"a source in another namespace", `spec: {sources: [{scoringBatch: other/a, iteration: 0}]}`, "spec.sources[0].scoringBatch"},
		{"a source with too long a name", fmt.Sprintf(`spec: {sources: [{scoringBatch: %s, iteration: 0}]}`, long(64)), "spec.sources[0].scoringBatch: Too long"},
		{"a negative iteration", `spec: {sources: [{scoringBatch: a, iteration: -1}]}`, "spec.sources[0].iteration in body should be greater than or equal to 0"},
		{"winner below loser", `spec: {pairing: {winnerThreshold: "0.1", loserThreshold: "0.2"}}`, "winnerThreshold must be at least loserThreshold"},
		{"an unknown field", `spec: {imports: {key: a}}`, `unknown field "spec.imports"`},
	})
}

func sources(n int) string {
	return "spec: {sources: [" + repeated(n, "{scoringBatch: b%d, iteration: %[1]d}") + "]}"
}
