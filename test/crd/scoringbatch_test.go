package crd

import "testing"

func TestScoringBatch(t *testing.T) {
	batch := document(t, "config/samples/scoringbatch.yaml", "ScoringBatch")
	testNames(t, batch)
	testValues(t, batch, "spec.runtimeRef.name", subdomains, noSubdomains)
	testValues(t, batch, "spec.prompts.key", keys, noKeys)
	testValues(t, batch, "spec.prompts.digest", digests, noDigests)
	testValues(t, batch, "spec.index.key", keys, noKeys)
	testValues(t, batch, "spec.index.digest", digests, noDigests)
	testValues(t, batch, "spec.scoring.maxInvalidFraction", fractions, noFractions)
	testValues(t, batch, "spec.tracking", []any{"Run", "Stored"}, append(noChoices, "stored", "Never"))
	testBounds(t, batch, []bound{{"spec.scoring.minUsableFrames", 3, 10_000}, {"spec.retries", 0, 10}})
	testRequired(t, batch, "spec", "spec.runtimeRef", "spec.runtimeRef.name", "spec.prompts", "spec.prompts.key", "spec.index", "spec.index.key")
	create(t, batch, []creation{
		{"guards that the tracker measures", `spec: {requiredGuards: [clipIQAQuality, clipIQANatural, identityConsistency]}`, ""},
		{"no guards", `spec: {requiredGuards: []}`, "spec.requiredGuards in body should have at least 1 items"},
		{"a guard twice", `spec: {requiredGuards: [clipIQAQuality, clipIQAQuality]}`, "spec.requiredGuards[1]: Duplicate value"},
		{"a guard from the boxes", `spec: {requiredGuards: [areaRatio]}`, `spec.requiredGuards[0]: Unsupported value: "areaRatio"`},
		{"an unknown field", `spec: {video: a.mp4}`, `unknown field "spec.video"`},
	})
}
