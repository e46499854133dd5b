package stages_test

import (
	"testing"

	"github.com/spatialalign/operator/internal/artifact"
	"github.com/spatialalign/operator/internal/artifact/s3test"
	"github.com/spatialalign/operator/internal/contract"
)

// TestOnS3: the stages work on an S3 store as on a folder, and another attempt adopts there too.
func TestOnS3(t *testing.T) {
	url := s3test.Start(t).URL("team")
	store, err := artifact.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w := &world{T: t, url: url, store: store}
	prepared := w.done(prepare(contract.PrepareSpec{
		Prompts: []contract.PromptSource{generated("train", 6, 1), generated("evaluation", 6, 1)},
		Sets:    []contract.SampleSet{{Name: "train", SamplesPerPrompt: 3, Sampling: sampling}},
	}))
	if prepared.Counts["train/missing"] != 18 {
		t.Errorf("prepare: counts %v", prepared.Counts)
	}
	s := fillScoring(w, 2, fourSamples())
	scores := s.done(s.score())
	spec := contract.Spec{Stage: contract.Pair, Pair: &contract.PairSpec{
		Sources:         []contract.PairSource{{Iteration: 1, Scores: scores.Outputs["scores"]}},
		WinnerThreshold: "0.7", LoserThreshold: "0.7",
	}}
	paired := w.done(spec)
	if paired.Counts["pairs"] != 1 {
		t.Errorf("pair: counts %v", paired.Counts)
	}
	if again := w.done(spec); again.Counts["adopted"] != 1 || *again.Manifest != *paired.Manifest {
		t.Errorf("another attempt gives %+v, want to adopt %v", again, paired.Manifest)
	}
}
