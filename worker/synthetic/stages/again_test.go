package stages_test

import (
	"bytes"
	"testing"

	"github.com/spatialalign/operator/internal/contract"
)

// A second run that differs only in pairing finds every sample and every track of the first, and scores them to the byte
// as the first did: it needs no sampling and no tracking.
func TestSecondRunTracksNothing(t *testing.T) {
	w := newWorld(t)
	prepare := func(run string) *contract.Spec {
		return &contract.Spec{ContractVersion: contract.Version, Stage: contract.Prepare, Output: run + "/prepare",
			Prepare: &contract.PrepareSpec{Sets: []contract.SampleSet{{
				Name: "train", Prompts: &w.promptsAt, SamplesPerPrompt: 3, Sampling: w.sampling(),
				Seeds: contract.SeedRule{Seed: 1, Iteration: 1}, KeepLatents: true, Detector: &w.info.Detector,
			}}}}
	}
	score := func(run string, index contract.Artifact) *contract.Spec {
		return &contract.Spec{ContractVersion: contract.Version, Stage: contract.Score, Output: run + "/score",
			Score: &contract.ScoreSpec{Prompts: w.promptsAt, Index: index, MinUsableFrames: 20, MaxInvalidFraction: "1"}}
	}

	index := w.run(prepare("first"), call{wantCounts: map[string]int64{"train/total": 12, "train/missing": 12, "train/untracked": 12}}).Outputs["index/train"]
	w.run(w.sampleSpec(index), call{wantCounts: map[string]int64{"generated": 12}})
	w.run(prepare("between"), call{wantCounts: map[string]int64{"train/total": 12, "train/missing": 0, "train/untracked": 12}})
	tracked := score("first", index)
	for shard := range 2 {
		done := w.run(w.trackSpec(index), call{shard: shard, shards: 2, wantCounts: map[string]int64{"total": 6, "reused": 0}})
		tracked.Score.Tracks = append(tracked.Score.Tracks, *done.Manifest)
	}
	first := w.run(tracked, call{wantCounts: map[string]int64{"total": 12, "missing": 0}})

	found := w.run(prepare("second"), call{wantCounts: map[string]int64{"train/total": 12, "train/missing": 0, "train/untracked": 0}})
	kept := score("second", found.Outputs["index/train"])
	kept.Score.Detector = &w.info.Detector
	second := w.run(kept, call{wantCounts: first.Counts})
	if a, b := w.read(first.Outputs["scores"]), w.read(second.Outputs["scores"]); !bytes.Equal(a, b) {
		t.Errorf("the second run scores\n%swant\n%s", b, a)
	}

	raised := w.info.Detector
	raised.Revision += "+"
	other, stale := prepare("third"), score("third", index)
	other.Prepare.Sets[0].Detector, stale.Score.Detector = &raised, &raised
	w.run(other, call{wantCounts: map[string]int64{"train/missing": 0, "train/untracked": 12}})
	w.run(stale, call{wantCode: contract.ExitBadInput, wantMessage: "the tracks of 12 of 12 samples are missing"})
}
