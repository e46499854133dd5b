package retention

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// TestRootsOf: every kind counts, whatever its phase; what lies below an owner's prefix need not be named.
func TestRootsOf(t *testing.T) {
	runtime := &v1alpha1.RuntimeSnapshot{Spec: v1alpha1.AlignmentRuntimeSpec{Detector: v1alpha1.DetectorSpec{Name: "d", Digest: v1alpha1.Digest(detector.Digest), Revision: "1"}}}
	reference := func(key string) *v1alpha1.ArtifactReference {
		return &v1alpha1.ArtifactReference{Key: v1alpha1.ArtifactKey(key)}
	}
	roots, err := RootsOf([]client.Object{
		&v1alpha1.AlignmentRun{
			ObjectMeta: metav1.ObjectMeta{UID: "run"},
			Spec:       v1alpha1.AlignmentRunSpec{InitialAdapter: reference("runs/deleted/adapter.safetensors")},
			Status: v1alpha1.AlignmentRunStatus{Runtime: runtime, Iterations: []v1alpha1.IterationStatus{{
				Evaluation: &v1alpha1.ScoreSummary{Scores: reference("runs/batch/0000/score/scores.jsonl")},
			}}},
		},
		&v1alpha1.ScoringBatch{
			ObjectMeta: metav1.ObjectMeta{UID: "batch"},
			Spec:       v1alpha1.ScoringBatchSpec{Index: *reference("my/index.jsonl"), Prompts: *reference("my/prompts.csv")},
			Status:     v1alpha1.ScoringBatchStatus{Runtime: runtime},
		},
		&v1alpha1.PreferenceDataset{
			ObjectMeta: metav1.ObjectMeta{UID: "dataset"},
			Spec:       v1alpha1.PreferenceDatasetSpec{Import: reference("my/pairs.jsonl")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(roots.Artifacts, func(a, b contract.Artifact) int { return strings.Compare(a.Key, b.Key) })
	if diff := cmp.Diff(Roots{
		UIDs:      []string{"batch", "dataset", "run"},
		Artifacts: []contract.Artifact{{Key: "my/index.jsonl"}, {Key: "my/pairs.jsonl"}, {Key: "my/prompts.csv"}, {Key: "runs/deleted/adapter.safetensors"}},
		Detectors: []contract.Detector{detector},
	}, roots); diff != "" {
		t.Errorf("roots (-want +got):\n%s", diff)
	}
}
