package stages_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/internal/artifact/storetest"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/stage"
)

// evaluation is a scores.jsonl of prompts with two seeds each; ids differ between adapters, as they do.
func evaluation(adapter string, scores ...float64) []contract.ScoreLine {
	var all []contract.ScoreLine
	for i, score := range scores {
		line := scored(fmt.Sprint(adapter, i), fmt.Sprint("p", i/2), score)
		line.Seed = uint64(i % 2)
		all = append(all, line)
	}
	return all
}

func comparison(w *world, best, candidate []contract.ScoreLine) contract.Spec {
	return contract.Spec{Stage: contract.Compare, Compare: &contract.CompareSpec{
		Best: storetest.PutLines(w, w.store, "best.jsonl", best...), Candidate: storetest.PutLines(w, w.store, "candidate.jsonl", candidate...),
		Threshold: "0.7", Confidence: "0.95", Resamples: 1000, Seed: 1,
	}}
}

// TestCompare: samples meet by prompt and seed in whatever order; INVALID is a failure; the threshold is
// taken literally. Of three prompts the candidate gains one sample on the first and loses none.
func TestCompare(t *testing.T) {
	w := newWorld(t)
	best := evaluation("b", 0.69, -1, 0.9, 0.9, 0.1, 0.1)
	candidate := evaluation("c", 0.7, -1, 0.9, 0.9, 0.1, -1)
	candidate[0], candidate[5] = candidate[5], candidate[0]
	spec := comparison(w, best, candidate)
	done := w.done(spec)
	if diff := cmp.Diff(map[string]int64{"prompts": 3, "samples": 6}, done.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	// No resample of the three prompts is below 0, and one in 27 is the first prompt alone: the bound is two of three.
	if diff := cmp.Diff(map[string]string{"delta": "0.166667", "lowerBound": "0", "upperBound": "0.333333"}, done.Metrics); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	var got contract.Verdict
	if err := json.Unmarshal(w.read(done.Outputs["verdict"]), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(contract.Verdict{
		Threshold: "0.7", Confidence: "0.95", Resamples: 1000, Seed: 1, Prompts: 3, Samples: 6,
		Best:      contract.VerdictSide{Scores: spec.Compare.Best, Successes: 2, Accuracy: "0.333333"},
		Candidate: contract.VerdictSide{Scores: spec.Compare.Candidate, Successes: 3, Accuracy: "0.5"},
		Delta:     "0.166667", LowerBound: "0", UpperBound: "0.333333",
	}, got); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}

// TestCompareTellsDevices: the GPU models that the sidecars name, in order and at most so many. A sidecar that names none, is
// damaged or is not there says nothing, and neither does the id of somebody's own video.
func TestCompareTellsDevices(t *testing.T) {
	w := newWorld(t)
	made := func(lines []contract.ScoreLine, devices ...string) []contract.ScoreLine {
		for i, device := range devices {
			sidecar := storetest.Sidecar(w, w.store, sampling, contract.PromptLine{PromptID: lines[i].PromptID, Prompt: lines[i].SampleID}, lines[i].Seed)
			if device != "" {
				sidecar.Provenance = map[string]string{"device": device, "torch": "2"}
			}
			lines[i].SampleID = sidecar.SampleID
			if _, err := stage.CommitSample(t.Context(), w.store, sidecar); err != nil {
				t.Fatal(err)
			}
		}
		return lines
	}
	best := made(evaluation("b", 0.9, 0.9, 0.9, 0.9, 0.9, 0.9), "NVIDIA H100", "NVIDIA A100", "NVIDIA H100", "", "two\nlines", "E")
	storetest.Put(t, w.store, contract.SidecarKey(best[5].SampleID), "{")
	best[4].SampleID = "../own video"
	candidate := made(evaluation("c", 0.9, 0.9, 0.9, 0.9, 0.9, 0.9), "E", "D", "C", "B", "A")
	done := w.done(comparison(w, best, candidate))
	want := map[string][]string{"best": {"NVIDIA A100", "NVIDIA H100"}, "candidate": {"A", "B", "C", "D"}}
	if diff := cmp.Diff(want, done.Devices); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
	var got contract.Verdict
	if err := json.Unmarshal(w.read(done.Outputs["verdict"]), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, map[string][]string{"best": got.Best.Devices, "candidate": got.Candidate.Devices}); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}

func TestCompareRefuses(t *testing.T) {
	missing := func(scores []contract.ScoreLine, lines ...int) []contract.ScoreLine {
		for _, k := range lines {
			scores[k].Status, scores[k].Score, scores[k].Terms, scores[k].UsableFrames = contract.StatusMissing, nil, nil, 0
		}
		return scores
	}
	two := func(adapter string) []contract.ScoreLine { return evaluation(adapter, 0.9, 0.9, 0.9, 0.9) }
	for name, c := range map[string]struct {
		best, candidate []contract.ScoreLine
		want            string
	}{
		"samples that are missing":          {two("b"), missing(two("c"), 1, 3), "compare.candidate candidate.jsonl: the evaluation is incomplete: 2 of 4 samples are missing, the first is prompt p0 with seed 1"},
		"a best one that is incomplete":     {missing(two("b"), 0), two("c"), "compare.best best.jsonl: the evaluation is incomplete: 1 of 4"},
		"a sample on one side only":         {two("b"), two("c")[:3], "1 are on one side only; prompt p1 with seed 1 is of the best and not of the candidate"},
		"no samples at all":                 {nil, nil, "no samples"},
		"a prompt and seed under two names": {append(two("b"), evaluation("x", 0.1)...), two("c"), "best: prompt p0 with seed 0 occurs twice"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fails(comparison(w, c.best, c.candidate), contract.ExitBadInput, c.want)
		})
	}
	for field, change := range map[string]func(*contract.CompareSpec){
		"threshold":        func(s *contract.CompareSpec) { s.Threshold = "7e-1" },
		"confidence":       func(s *contract.CompareSpec) { s.Confidence = "1" },
		"resamples":        func(s *contract.CompareSpec) { s.Resamples = 0 },
		"candidate.digest": func(s *contract.CompareSpec) { s.Candidate.Digest = "" },
	} {
		t.Run(field, func(t *testing.T) {
			w := newWorld(t)
			spec := comparison(w, two("b"), two("c"))
			change(spec.Compare)
			w.fails(spec, contract.ExitBadSpec, "compare."+field)
		})
	}
}
