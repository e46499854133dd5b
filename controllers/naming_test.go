package controllers

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestNamed: an object is woken by what it names, as long as that can still set it going.
func TestNamed(t *testing.T) {
	ended := []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue}}
	run := func(change func(*v1alpha1.AlignmentRun)) client.Object {
		r := &v1alpha1.AlignmentRun{Spec: v1alpha1.AlignmentRunSpec{RuntimeRef: v1alpha1.RuntimeReference{Name: "wan"}, InitialDataset: &v1alpha1.PreferenceDatasetReference{Name: "pairs"}}}
		change(r)
		return r
	}
	dataset := &v1alpha1.PreferenceDataset{Spec: v1alpha1.PreferenceDatasetSpec{
		RuntimeRef: v1alpha1.RuntimeReference{Name: "wan"}, Sources: []v1alpha1.PairSource{{ScoringBatch: "mine"}, {Scores: &v1alpha1.ArtifactReference{Key: "scores.jsonl"}}},
	}}
	for name, c := range map[string]struct {
		object client.Object
		want   []string
	}{
		"a run that waits for its dataset": {run(func(*v1alpha1.AlignmentRun) {}), []string{"AlignmentRuntime/wan", "PreferenceDataset/pairs"}},
		"an accepted run": {
			run(func(r *v1alpha1.AlignmentRun) { r.Status.Runtime = &v1alpha1.RuntimeSnapshot{} }), []string{"AlignmentRuntime/wan"},
		},
		"an ended run": {run(func(r *v1alpha1.AlignmentRun) { r.Status.Conditions = ended }), nil},
		"a batch":      {&v1alpha1.ScoringBatch{Spec: v1alpha1.ScoringBatchSpec{RuntimeRef: v1alpha1.RuntimeReference{Name: "wan"}}}, []string{"AlignmentRuntime/wan"}},
		"a dataset":    {dataset, []string{"AlignmentRuntime/wan", "ScoringBatch/mine"}},
	} {
		if got := named(c.object); !slices.Equal(got, c.want) {
			t.Errorf("%s names %q, want %q", name, got, c.want)
		}
	}
}
