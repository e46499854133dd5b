package references

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

func reference(key string) *v1alpha1.ArtifactReference {
	return &v1alpha1.ArtifactReference{Key: v1alpha1.ArtifactKey(key), Digest: v1alpha1.Digest(contract.Digest([]byte(key)))}
}

// TestOf: spec and status, lists and outputs; each with a kind that people know.
func TestOf(t *testing.T) {
	run := &v1alpha1.AlignmentRun{
		Spec: v1alpha1.AlignmentRunSpec{
			InitialAdapter: reference("mine.safetensors"),
			Prompts:        v1alpha1.PromptsSpec{Train: v1alpha1.PromptSource{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "prompts", Key: "train.csv"}}},
		},
		Status: v1alpha1.AlignmentRunStatus{
			Prompts: &v1alpha1.ResolvedPrompts{Train: v1alpha1.ResolvedPromptSet{Key: "p.jsonl"}},
			Best:    &v1alpha1.BestAdapter{Adapter: reference("best.safetensors"), ModelCard: reference("card.md")},
			Iterations: []v1alpha1.IterationStatus{{
				Stages:     []v1alpha1.StageStatus{{Outputs: []v1alpha1.NamedArtifact{{Name: "index/train", Key: "i.jsonl", Digest: reference("i.jsonl").Digest}}}},
				Pairs:      &v1alpha1.PairSummary{Artifact: reference("pairs.jsonl")},
				Evaluation: &v1alpha1.ScoreSummary{Scores: reference("scores.jsonl")},
				Lineage:    reference("lineage.json"),
			}},
		},
	}
	found, err := Of(run)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range found {
		got[r.Key] = r.Kind()
		if want := reference(r.Key); r.Digest != "" && r.Digest != string(want.Digest) {
			t.Errorf("%v has digest %s", r.Path, r.Digest)
		}
	}
	if diff := cmp.Diff(map[string]string{
		"mine.safetensors": "initialAdapter", "p.jsonl": "prompts", "best.safetensors": "adapter", "card.md": "modelCard",
		"i.jsonl": "index", "pairs.jsonl": "pairs", "scores.jsonl": "scores", "lineage.json": "lineage",
	}, got); diff != "" {
		t.Errorf("kinds by key (-want +got):\n%s", diff)
	}
}
