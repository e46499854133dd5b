package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// shortfall changes the pairing policy of a run.
func shortfall(edit func(*v1alpha1.RunPairingSpec)) func(*v1alpha1.AlignmentRunSpec) {
	return func(s *v1alpha1.AlignmentRunSpec) {
		s.Iterations = 2
		edit(s.Pairing)
	}
}

// TestYieldGate plays the gate before training: enough pairs, another round of samples, or an end.
func TestYieldGate(t *testing.T) {
	resample := shortfall(func(p *v1alpha1.RunPairingSpec) { p.OnShortfall, p.MinPairs = v1alpha1.ShortfallResample, 500 })
	few := map[int32]int64{1: 300, 2: 900} // in each round
	allWin, allLose := map[int32][3]int64{2: {148, 0, 2}}, map[int32][3]int64{2: {0, 20, 130}}
	playTraces(t, []trace{
		{name: "converged", script: script{accuracy: rising.accuracy, samples: allWin}},
		{name: "collapsed", script: script{accuracy: rising.accuracy, samples: allLose}},
		{name: "insufficient-pairs", script: script{accuracy: rising.accuracy, pairs: map[int32]int64{1: 0}}},
		{name: "yield-min-pairs", script: script{accuracy: rising.accuracy, pairs: few}, edit: shortfall(func(p *v1alpha1.RunPairingSpec) {
			p.MinPairs = 301
		})},
		{name: "yield-min-pairs-reached", script: script{accuracy: rising.accuracy, pairs: few}, edit: shortfall(func(p *v1alpha1.RunPairingSpec) {
			p.MinPairs = 300
		})},
		{name: "yield-min-prompt-coverage", script: script{accuracy: rising.accuracy, usable: map[int32]int64{1: 15, 2: 14}}, edit: shortfall(func(p *v1alpha1.RunPairingSpec) {
			p.MinPromptCoverage = "0.5"
		})},
		{name: "yield-on-shortfall-stop", script: script{accuracy: rising.accuracy, pairs: map[int32]int64{2: 1}}, edit: shortfall(func(p *v1alpha1.RunPairingSpec) {
			p.MinPairs, p.OnShortfall = 2, v1alpha1.ShortfallStop
		})},
		{name: "resample-finds-enough", script: script{accuracy: rising.accuracy, pairs: few}, edit: resample},
		{name: "resample-until-prompts-are-covered", script: script{accuracy: rising.accuracy, usable: map[int32]int64{1: 10}}, edit: shortfall(func(p *v1alpha1.RunPairingSpec) {
			p.OnShortfall, p.MinPromptCoverage = v1alpha1.ShortfallResample, "0.9"
		})},
		{name: "resample-is-bounded", script: script{accuracy: rising.accuracy, pairs: map[int32]int64{1: 100}}, edit: resample},
		{name: "resample-when-all-win-converges", script: script{accuracy: rising.accuracy, samples: allWin}, edit: resample},
		{name: "resample-when-all-lose-collapses", script: script{accuracy: rising.accuracy, samples: allLose}, edit: resample},
		{name: "resample-suspended-in-round-1", script: script{accuracy: rising.accuracy, pairs: few}, edit: resample, play: func(w *world) {
			w.run.Spec.Iterations = 1
			w.until(1, v1alpha1.StagePair)
			w.succeed(w.child(v1alpha1.StagePair))
			w.until(1, v1alpha1.StageScore)
			w.run.Spec.Suspend = ptr.To(true)
			w.step()
			w.run.Spec.Suspend = ptr.To(false)
			w.settle()
		}},
	})
}

// TestResampledRoundsAreNewData: each round samples with seeds of its own, and all rounds of an iteration are paired together.
func TestResampledRoundsAreNewData(t *testing.T) {
	w := newWorld(t, script{accuracy: rising.accuracy, pairs: map[int32]int64{1: 200}})
	w.run.Spec.Pairing.OnShortfall, w.run.Spec.Pairing.MinPairs = v1alpha1.ShortfallResample, 600
	w.until(1, v1alpha1.StageTrain)
	var seeds []contract.SeedRule
	var sources [][]v1alpha1.PairSource
	for _, c := range w.children {
		switch c.Place.Stage {
		case v1alpha1.StagePrepare:
			for _, set := range specOf(t, c).Prepare.Sets {
				if set.Name == setTrain {
					seeds = append(seeds, set.Seeds)
				}
			}
		case v1alpha1.StagePair:
			sources = append(sources, c.Object.(*v1alpha1.PreferenceDataset).Spec.Sources)
		}
	}
	if diff := cmp.Diff([]contract.SeedRule{{Iteration: 1}, {Iteration: 1, Round: 1}, {Iteration: 1, Round: 2}}, seeds); diff != "" {
		t.Error(diff)
	}
	var all []v1alpha1.PairSource
	for _, key := range []string{"it1/scores", "it1r1/scores", "it1r2/scores"} {
		all = append(all, v1alpha1.PairSource{Scores: reference(file(key)), Iteration: ptr.To(int32(1))})
	}
	if diff := cmp.Diff([][]v1alpha1.PairSource{all[:1], all[:2], all}, sources); diff != "" {
		t.Error(diff)
	}
}

// TestHistory: Cumulative adds an iteration's pairs to those before it, Latest does not.
func TestHistory(t *testing.T) {
	for history, want := range map[v1alpha1.HistoryPolicy]*v1alpha1.ArtifactReference{
		v1alpha1.HistoryCumulative: reference(file("it1/pairs")), v1alpha1.HistoryLatest: nil,
	} {
		t.Run(string(history), func(t *testing.T) {
			w := newWorld(t, rising)
			w.run.Spec.Pairing.History = history
			w.until(2, v1alpha1.StagePair)
			spec := w.child(v1alpha1.StagePair).Object.(*v1alpha1.PreferenceDataset).Spec
			if diff := cmp.Diff(want, spec.Extends); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]v1alpha1.PairSource{{Scores: reference(file("it2/scores")), Iteration: ptr.To(int32(2))}}, spec.Sources); diff != "" {
				t.Error(diff)
			}
			w.settle()
		})
	}
}
