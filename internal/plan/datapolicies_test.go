package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

var initial = file("their/adapter")

// specs are the stage specs of all Jobs of a stage so far, by iteration.
func (w *world) specs(stage v1alpha1.StageName) map[int32]contract.Spec {
	w.t.Helper()
	found := map[int32]contract.Spec{}
	for _, c := range w.children {
		if c.Place.Stage == stage {
			found[c.Place.Iteration] = specOf(w.t, c)
		}
	}
	return found
}

// TestWhatIterationsStartFrom: the adapters that each iteration samples from, goes on training, and is held to. Iteration 2's
// adapter is rejected, so that iteration 3 goes on from iteration 1's.
func TestWhatIterationsStartFrom(t *testing.T) {
	none, one := (*contract.Artifact)(nil), ptr.To(file("it1/adapter"))
	type adapters struct{ policy, start, reference *contract.Artifact }
	tests := []struct {
		name string
		edit func(*v1alpha1.AlignmentRunSpec)
		want [4]adapters // by iteration, from 1
	}{
		{"defaults", func(*v1alpha1.AlignmentRunSpec) {}, [4]adapters{1: {}, 2: {one, one, none}, 3: {one, one, none}}},
		{"fresh", func(s *v1alpha1.AlignmentRunSpec) { s.Training.Start = v1alpha1.StartFresh },
			[4]adapters{1: {}, 2: {one, none, none}, 3: {one, none, none}}},
		{"reference previous", func(s *v1alpha1.AlignmentRunSpec) { s.Training.ReferencePolicy = v1alpha1.ReferencePrevious },
			[4]adapters{1: {}, 2: {one, one, one}, 3: {one, one, one}}},
		{"initial adapter", func(s *v1alpha1.AlignmentRunSpec) { s.InitialAdapter = reference(initial) },
			[4]adapters{1: {&initial, &initial, none}, 2: {one, one, none}, 3: {one, one, none}}},
		{"initial adapter, reference previous, fresh", func(s *v1alpha1.AlignmentRunSpec) {
			s.InitialAdapter, s.Training.ReferencePolicy, s.Training.Start = reference(initial), v1alpha1.ReferencePrevious, v1alpha1.StartFresh
		}, [4]adapters{1: {&initial, none, &initial}, 2: {one, none, one}, 3: {one, none, one}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, script{accuracy: []string{"0.35", "0.65", "0.6", "0.7"}})
			tt.edit(&w.run.Spec)
			w.settle()
			samples, trains, lineages := w.specs(v1alpha1.StageSample), w.specs(v1alpha1.StageTrain), w.specs(v1alpha1.StageLineage)
			for k := int32(1); k <= 3; k++ {
				want, train := tt.want[k], trains[k].Train
				if diff := cmp.Diff([]*contract.Artifact{want.policy, want.start, want.reference},
					[]*contract.Artifact{samples[k].Sample.Sampling.Adapter, train.StartAdapter, train.ReferenceAdapter}); diff != "" {
					t.Errorf("iteration %d: %s", k, diff)
				}
				record := lineages[k].Lineage.Record
				for role, a := range map[string]*contract.Artifact{"startAdapter": want.start, "referenceAdapter": want.reference} {
					if got, ok := record.Artifacts[role]; ok != (a != nil) || a != nil && got != *a {
						t.Errorf("the lineage of iteration %d names %v as %s", k, got, role)
					}
				}
				if diff := cmp.Diff(want.policy, record.Sampling.Adapter); diff != "" {
					t.Errorf("the lineage of iteration %d: %s", k, diff)
				}
			}
		})
	}
}

// TestInitialAdapterIsTheBaseline: it is evaluated first, and best until another is better.
func TestInitialAdapterIsTheBaseline(t *testing.T) {
	w := newWorld(t, rising)
	w.run.Spec.InitialAdapter = reference(initial)
	w.until(1, v1alpha1.StageTrain)
	if diff := cmp.Diff(&v1alpha1.BestAdapter{Iteration: ptr.To(int32(0)), Accuracy: "0.35", Adapter: reference(initial)}, w.run.Status.Best); diff != "" {
		t.Error(diff)
	}
	if got := w.specs(v1alpha1.StageEvaluationSample)[0].Sample.Sampling.Adapter; got == nil || *got != initial {
		t.Errorf("the baseline samples from %v", got)
	}
}

// dataset is a PreferenceDataset with some pairs of the training prompts.
func dataset(pairs int64) *v1alpha1.PreferenceDataset {
	n := [3]int64{60, 80, 10}
	return &v1alpha1.PreferenceDataset{Status: v1alpha1.PreferenceDatasetStatus{Summary: &v1alpha1.PairSummary{
		Pairs: &pairs, UsablePrompts: ptr.To(int64(20)), Winners: &n[0], Losers: &n[1], Invalid: &n[2], Artifact: reference(file("their/pairs")),
	}}}
}

// TestInitialDataset plays runs that begin with pairs: straight to training.
func TestInitialDataset(t *testing.T) {
	edit := func(s *v1alpha1.AlignmentRunSpec) {
		s.Iterations, s.InitialDataset = 2, &v1alpha1.PreferenceDatasetReference{Name: "labelled-by-people"}
	}
	playTraces(t, []trace{
		{name: "initial-dataset", script: rising, edit: edit, play: func(w *world) {
			w.related.Dataset = dataset(900)
			w.settle()
		}},
		{name: "initial-dataset-appears-later", script: rising, edit: edit, play: func(w *world) {
			w.step()
			w.related.Dataset = &v1alpha1.PreferenceDataset{}
			w.step()
			w.related.Dataset.Status.Conditions = failedBatch("").Status.Conditions
			w.step()
			w.remark("it is created again")
			w.related.Dataset = dataset(900)
			w.until(1, v1alpha1.StageTrain)
			w.remark("it is deleted, which matters no more")
			w.related.Dataset = nil
			w.run.Spec.Iterations = 1
			w.settle()
		}},
		{name: "initial-dataset-without-enough-pairs", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			edit(s)
			s.Pairing.MinPairs, s.Pairing.OnShortfall = 1000, v1alpha1.ShortfallResample
		}, play: func(w *world) {
			w.related.Dataset = dataset(900)
			w.settle()
		}},
	})
	for history, want := range map[v1alpha1.HistoryPolicy]*v1alpha1.ArtifactReference{
		v1alpha1.HistoryCumulative: reference(file("their/pairs")), v1alpha1.HistoryLatest: nil,
	} {
		w := newWorld(t, rising)
		edit(&w.run.Spec)
		w.run.Spec.Pairing.History, w.related.Dataset = history, dataset(900)
		w.until(1, v1alpha1.StageTrain)
		if got := specOf(t, w.child(v1alpha1.StageTrain)).Train.Pairs; got != file("their/pairs") {
			t.Errorf("iteration 1 trains on %v", got)
		}
		w.until(2, v1alpha1.StagePair)
		if diff := cmp.Diff(want, w.child(v1alpha1.StagePair).Object.(*v1alpha1.PreferenceDataset).Spec.Extends); diff != "" {
			t.Errorf("history %s: %s", history, diff)
		}
	}
}

// TestTestPrompts plays runs with test prompts: the best adapter is evaluated on them, once, after a good end.
func TestTestPrompts(t *testing.T) {
	edit := func(s *v1alpha1.AlignmentRunSpec) {
		s.Iterations, s.Prompts.Test = 2, &v1alpha1.PromptSource{Generate: &v1alpha1.GeneratedPrompts{Count: 30, Seed: ptr.To(int64(3))}}
	}
	playTraces(t, []trace{
		{name: "test-prompts", script: script{accuracy: []string{"0.35", "0.65", "0.6"}}, edit: edit},
		{name: "test-prompts-of-the-base-model", script: script{accuracy: []string{"0.35", "0.3", "0.2"}}, edit: edit},
		{name: "test-prompts-interrupted", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) { edit(s); s.Iterations = 1 }, play: func(w *world) {
			w.until(1, v1alpha1.StageTestSample)
			w.fail(v1alpha1.StageTestSample, "GPUFault", false)
			w.run.Spec.Suspend = ptr.To(true)
			w.step()
			w.run.Spec.Suspend = ptr.To(false)
			w.settle()
		}},
		{name: "test-prompts-not-after-a-bad-end", script: script{accuracy: rising.accuracy, samples: map[int32][3]int64{2: {0, 150, 0}}}, edit: edit},
	})
}

// TestStoreOverride: the run's own store is that of all its stages.
func TestStoreOverride(t *testing.T) {
	w := newWorld(t, rising)
	w.run.Spec.Store = &v1alpha1.StoreSpec{PVC: &v1alpha1.PVCStore{ClaimName: "our-own"}}
	w.settle()
	if diff := cmp.Diff(*w.run.Spec.Store, w.run.Status.Runtime.Spec.Store); diff != "" {
		t.Error(diff)
	}
	for _, c := range w.children {
		if name, ok := claimOf(c); ok && name != "our-own" {
			t.Errorf("%s mounts %s", placed(c.Place), name)
		}
	}
	if w.runtime.Spec.Store.PVC.ClaimName != "store" {
		t.Error("the runtime itself was changed")
	}
}
