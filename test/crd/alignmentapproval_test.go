package crd

import "testing"

func TestAlignmentApproval(t *testing.T) {
	approval := document(t, "config/samples/alignmentapproval.yaml", "AlignmentApproval")
	testRequired(t, approval, "spec", "spec.runName", "spec.runUID", "spec.iteration", "spec.gate", "spec.digest", "spec.decision")
	testBounds(t, approval, []bound{{"spec.iteration", 1, 10_000}})
	testValues(t, approval, "spec.runName", labels, noLabels)
	testValues(t, approval, "spec.runUID", []any{"3f9a6c1e-52a7-4e0b-9c1d-7b0c0a4f8e21", long(64)}, []any{"", long(65)})
	testValues(t, approval, "spec.gate", []any{"Pair", "Evaluate"}, append(noChoices, "Train"))
	testValues(t, approval, "spec.digest", digests, noDigests)
	testValues(t, approval, "spec.decision", []any{"Approve", "Deny"}, append(noChoices, "Approved", "approve"))
	testValues(t, approval, "spec.comment", []any{"ok", long(1024)}, []any{"", long(1025)})
	create(t, approval, []creation{
		{"a name with dots", `metadata: {name: gated-run.1.evaluate}`, ""},
		{"no comment", `spec: {comment: null}`, ""},
		{"an unknown field", `spec: {approved: true}`, `unknown field "spec.approved"`},
	})
}

// An answer that was given stays what it was: who approved, approved that.
func TestAlignmentApprovalIsImmutable(t *testing.T) {
	const immutable = "spec is immutable; create a new AlignmentApproval"
	update(t, stored(t, document(t, "config/samples/alignmentapproval.yaml", "AlignmentApproval")), []creation{
		{"labels", `metadata: {labels: {a: b}}`, ""},
		{"decision", `spec: {decision: Deny}`, immutable},
		{"iteration", `spec: {iteration: 2}`, immutable},
		{"digest", `spec: {digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}`, immutable},
		{"comment", `spec: {comment: other}`, immutable},
		{"comment removed", `spec: {comment: null}`, immutable},
	})
}
