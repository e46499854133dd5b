package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// former is a run of three iterations that has ended, the second of which was rejected.
func former(t *testing.T, edits ...func(*world)) *v1alpha1.AlignmentRun {
	t.Helper()
	w := newWorld(t, script{accuracy: []string{"0.35", "0.65", "0.6", "0.7"}})
	w.run.UID = "1e55-former"
	w.run.Name = "former-run"
	for _, edit := range edits {
		edit(w)
	}
	w.settle()
	return w.run
}

func rerun(k int32, stage v1alpha1.RerunStage) *v1alpha1.RerunSpec {
	return &v1alpha1.RerunSpec{RunName: "former-run", Iteration: k, Stage: stage}
}

// TestRerun plays runs that go on from what another one has recorded. What that one did is neither repeated nor charged.
func TestRerun(t *testing.T) {
	play := func(k int32, stage v1alpha1.RerunStage) func(*world) {
		return func(w *world) {
			w.related.Rerun, w.run.Spec.Rerun = former(w.t), rerun(k, stage)
			w.step()
			if w.run.Status.GPUSeconds != 0 {
				w.t.Errorf("the other run's %d GPU-seconds are charged", w.run.Status.GPUSeconds)
			}
			w.related.Rerun = nil // it is deleted, which matters no more
			w.settle()
		}
	}
	better := script{accuracy: []string{"0.35", "0.66", "0.7", "0.8"}}
	traces := []trace{
		{name: "rerun-from-the-first-sample", script: better, play: play(1, v1alpha1.RerunSample)},
		{name: "rerun-after-a-rejected-iteration", script: better, play: play(3, v1alpha1.RerunSample)},
		{name: "rerun-of-an-iteration-to-come", script: better, edit: iterations(4), play: play(4, v1alpha1.RerunSample)},
		{name: "rerun-of-an-ended-run-refuses-what-is-not-recorded", script: better, play: func(w *world) {
			w.related.Rerun, w.run.Spec.Rerun = former(w.t), rerun(5, v1alpha1.RerunSample)
			w.step()
		}},
		{name: "rerun-waits-for-the-other-run", script: better, play: func(w *world) {
			w.run.Spec.Rerun = rerun(2, v1alpha1.RerunTrain)
			w.step()
			w.remark("the other run begins")
			other := newWorld(w.t, better)
			other.run.UID, other.run.Name = "1e55-former", "former-run"
			w.related.Rerun = other.run
			w.steps(2)
			w.remark("it is as far as the training of iteration 2")
			other.until(2, v1alpha1.StageTrain)
			w.settle()
		}},
	}
	for _, stage := range []v1alpha1.RerunStage{v1alpha1.RerunSample, v1alpha1.RerunPair, v1alpha1.RerunTrain, v1alpha1.RerunEvaluate} {
		traces = append(traces, trace{name: "rerun-from-" + string(stage), script: better, edit: iterations(2), play: play(2, stage)})
	}
	playTraces(t, traces)
}

// TestRerunTakesOver: what a rerun of the third iteration knows when it begins.
func TestRerunTakesOver(t *testing.T) {
	w := newWorld(t, rising)
	from := former(t)
	w.related.Rerun, w.run.Spec.Rerun = from, rerun(3, v1alpha1.RerunEvaluate)
	w.step()
	s, first := w.run.Status, from.Status.Iterations[1]
	best := &v1alpha1.BestAdapter{Iteration: ptr.To(int32(1)), Accuracy: "0.65", Adapter: first.Adapter, Lineage: first.Lineage}
	if diff := cmp.Diff(best, s.Best); diff != "" || s.LastImprovedIteration != 1 || s.Accuracy != "0.6" {
		t.Errorf("last improved %d, accuracy %s, best: %s", s.LastImprovedIteration, s.Accuracy, diff)
	}
	if diff := cmp.Diff(from.Status.Prompts, s.Prompts); diff != "" {
		t.Error(diff)
	}
	third := s.Iterations[3]
	if third.Adapter == nil || third.Evaluation != nil || third.Decision != nil || third.Pairs == nil {
		t.Errorf("of iteration 3 it takes over %+v", third)
	}
	if diff := cmp.Diff(from.Status.Iterations[2].Decision, s.Iterations[2].Decision); diff != "" {
		t.Error(diff)
	}
}

// TestRerunOfRounds: a resampled iteration is taken over with all its rounds, or paired again from its first.
func TestRerunOfRounds(t *testing.T) {
	resampled := func(w *world) {
		w.pairs = map[int32]int64{1: 300}
		w.run.Spec.Pairing.OnShortfall, w.run.Spec.Pairing.MinPairs = v1alpha1.ShortfallResample, 500
	}
	for stage, want := range map[v1alpha1.RerunStage]int{v1alpha1.RerunTrain: 1, v1alpha1.RerunPair: 0} {
		w := newWorld(t, rising)
		w.related.Rerun, w.run.Spec.Rerun = former(t, resampled), rerun(1, stage)
		w.until(1, v1alpha1.StageTrain)
		it := w.run.Status.Iterations[1]
		if len(it.Resampled) != want || (len(it.Stages) == 1) != (stage == v1alpha1.RerunTrain) {
			t.Errorf("rerun from %s: %d more rounds, stages %+v", stage, len(it.Resampled), it.Stages)
		}
	}
}

// TestRerunOfInitialDataset: the pairs that the other run began with are those of the rerun.
func TestRerunOfInitialDataset(t *testing.T) {
	began := func(w *world) {
		w.run.Spec.InitialDataset, w.related.Dataset = &v1alpha1.PreferenceDatasetReference{Name: "theirs"}, dataset(900)
	}
	for _, stage := range []v1alpha1.RerunStage{v1alpha1.RerunSample, v1alpha1.RerunTrain} {
		w := newWorld(t, rising)
		w.related.Rerun, w.run.Spec.Rerun = former(t, began), rerun(1, stage)
		w.until(1, v1alpha1.StageTrain)
		if got := specOf(t, w.child(v1alpha1.StageTrain)).Train.Pairs; got != file("their/pairs") || len(w.children) != 1 {
			t.Errorf("a rerun from %s trains on %v after %d stages", stage, got, len(w.children)-1)
		}
	}
}

// TestRerunOfApartPairs: a run that kept the pairs of each iteration apart has no file of all of them. One that wants all
// begins where nothing is missing.
func TestRerunOfApartPairs(t *testing.T) {
	latest := func(w *world) { w.run.Spec.Pairing.History = v1alpha1.HistoryLatest }
	for _, tt := range []struct {
		k       int32
		stage   v1alpha1.RerunStage
		history v1alpha1.HistoryPolicy
		refused bool
	}{
		{1, v1alpha1.RerunTrain, v1alpha1.HistoryCumulative, false},
		{2, v1alpha1.RerunSample, v1alpha1.HistoryCumulative, false},
		{2, v1alpha1.RerunPair, v1alpha1.HistoryCumulative, false},
		{2, v1alpha1.RerunTrain, v1alpha1.HistoryCumulative, true},
		{2, v1alpha1.RerunEvaluate, v1alpha1.HistoryCumulative, true},
		{3, v1alpha1.RerunSample, v1alpha1.HistoryCumulative, true},
		{3, v1alpha1.RerunPair, v1alpha1.HistoryCumulative, true},
		{3, v1alpha1.RerunSample, v1alpha1.HistoryLatest, false},
		{3, v1alpha1.RerunTrain, v1alpha1.HistoryLatest, false},
	} {
		w := newWorld(t, rising)
		w.related.Rerun, w.run.Spec.Rerun, w.run.Spec.Pairing.History = former(t, latest), rerun(tt.k, tt.stage), tt.history
		w.step()
		failed := meta.FindStatusCondition(w.run.Status.Conditions, v1alpha1.ConditionFailed)
		if (failed != nil) != tt.refused || tt.refused && !strings.Contains(failed.Message, "spec.pairing.history is Cumulative") {
			t.Errorf("iteration %d from %s with history %s: %+v", tt.k, tt.stage, tt.history, failed)
		}
	}
}

// TestRerunRefused: what would not be comparable, or can never be there, fails before anything runs.
func TestRerunRefused(t *testing.T) {
	tests := []struct {
		name string
		edit func(*world)
		want string
	}{
		{"other prompts", func(w *world) { w.run.Spec.Prompts.Evaluation.Generate.Count = 31 }, "spec.prompts differs"},
		{"a guard metric that was not measured", func(w *world) {
			w.run.Spec.Acceptance.GuardMetrics = []v1alpha1.GuardMetric{{Name: "clipIQAQuality", MaxDrop: "0.1"}}
		}, "did not measure guard metric clipIQAQuality"},
		{"other sampling", func(w *world) { w.run.Spec.Sampling = &v1alpha1.SamplingSpec{Seed: ptr.To(int64(9))} }, "spec.sampling differs"},
		{"other scoring", func(w *world) { w.run.Spec.Scoring.MinUsableFrames = 30 }, "spec.scoring differs"},
		{"another headline", func(w *world) { w.run.Spec.Evaluation.HeadlineThreshold = "0.6" }, "spec.evaluation differs"},
		{"another runtime", func(w *world) { w.run.Spec.RuntimeRef.Name = "wan" }, "spec.runtimeRef differs"},
		{"another store", func(w *world) { w.run.Spec.Store = &v1alpha1.StoreSpec{} }, "the store differs"},
		{"the runtime has another store by now", func(w *world) { w.runtime.Spec.Store = v1alpha1.StoreSpec{} }, "the store differs"},
		{"itself", func(w *world) { w.related.Rerun = w.run }, "names this run itself"},
		{"a lineage that was never written", func(w *world) { w.related.Rerun.Status.Iterations[1].Lineage = nil }, "has no lineage of iteration 1"},
		{"several", func(w *world) { w.run.Spec.Evaluation.HeadlineThreshold, w.run.Spec.RuntimeRef.Name = "0.6", "wan" }, "spec.runtimeRef differs"},
		{"the runtime has another model by now", func(w *world) { w.runtime.Spec.Model.NumericsRevision = "2" }, "the runtime's model differs"},
		{"the runtime samples otherwise by now", func(w *world) { w.runtime.Spec.Defaults.Sampling.Steps = 50 }, "the runtime's default of sampling differs"},
		{"an iteration that never came", func(w *world) { w.run.Spec.Rerun.Iteration = 9 }, "has no record of iteration 8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rising)
			w.related.Rerun, w.run.Spec.Rerun = former(t), rerun(2, v1alpha1.RerunTrain)
			tt.edit(w)
			w.step()
			c := meta.FindStatusCondition(w.run.Status.Conditions, v1alpha1.ConditionFailed)
			if c == nil || c.Reason != v1alpha1.ReasonInvalidSpec || len(w.children) > 0 {
				t.Fatalf("condition %+v, %d children", c, len(w.children))
			}
			if got := c.Message; !strings.Contains(got, tt.want) {
				t.Errorf("message %q, want %q in it", got, tt.want)
			}
		})
	}
	free := newWorld(t, rising)
	free.related.Rerun, free.run.Spec.Rerun = former(t), rerun(2, v1alpha1.RerunTrain)
	free.run.Spec.Pairing.MinMargin, free.run.Spec.Training.Beta, free.run.Spec.Acceptance.Confidence = "0.1", "2", "0.9"
	free.settle()
}

// TestRerunLineage: what another run made is recorded as that run's, with its spec and how it trained.
func TestRerunLineage(t *testing.T) {
	w := newWorld(t, rising)
	w.related.Rerun, w.run.Spec.Rerun = former(t), rerun(1, v1alpha1.RerunEvaluate)
	w.run.Spec.Iterations, w.run.Spec.Training.Beta = 2, "99"
	stageRecord(w.related.Rerun.Status.Iterations[1].Stages, v1alpha1.StageTrain, 0).Image = "wan@sha256:1"
	w.until(1, v1alpha1.StageLineage)
	record := specOf(t, w.child(v1alpha1.StageLineage)).Lineage.Record
	from := record.TakenOver
	if from == nil || from.UID != string(w.related.Rerun.UID) || !strings.Contains(string(from.Spec), `"iterations":3`) || from.Images["Train"] != "wan@sha256:1" {
		t.Errorf("taken over: %+v", from)
	}
	if record.Training == nil || record.Training.Beta == "99" {
		t.Errorf("training %+v is not that of the other run", record.Training)
	}
	w.until(2, v1alpha1.StageLineage)
	if own := specOf(t, w.child(v1alpha1.StageLineage)).Lineage.Record; own.TakenOver != nil || own.Training.Beta != "99" {
		t.Errorf("iteration 2: %+v, %+v", own.TakenOver, own.Training)
	}

	gone := newWorld(t, rising)
	gone.related.Rerun, gone.run.Spec.Rerun = former(t), rerun(1, v1alpha1.RerunEvaluate)
	gone.until(1, v1alpha1.StageCompare)
	gone.related.Rerun = nil
	gone.until(1, v1alpha1.StageLineage)
	if record := specOf(t, gone.child(v1alpha1.StageLineage)).Lineage.Record; record.Training != nil || record.TakenOver.Run == "" || record.TakenOver.UID != "" {
		t.Errorf("nobody knows the other run any more: %+v, %+v", record.Training, record.TakenOver)
	}
}

// TestRerunIsForecast by what the other run's dearest iteration took, also where it begins within an iteration.
func TestRerunIsForecast(t *testing.T) {
	for stage, k := range map[v1alpha1.RerunStage]int32{v1alpha1.RerunSample: 2, v1alpha1.RerunTrain: 2} {
		w := newWorld(t, rising)
		w.related.Rerun, w.run.Spec.Rerun = former(t, func(w *world) { w.until(1, v1alpha1.StageTrain); w.pass(7200) }), rerun(k, stage)
		w.run.Spec.Budget = &v1alpha1.BudgetSpec{GPUHours: "0.5", FirstIterationGPUHours: "0.1", OnExceeded: v1alpha1.BudgetSuspend}
		w.held()
		if got := w.run.Status.ForecastGPUSeconds; got < 7200 || len(w.children) > 0 {
			t.Errorf("rerun from %s of iteration %d: forecast %d, %d children", stage, k, got, len(w.children))
		}
		w.run.Spec.Budget.GPUHours = "100"
		w.settle()
	}
}

// TestRerunGoesOnAfterARejection that ended the other run.
func TestRerunGoesOnAfterARejection(t *testing.T) {
	w := newWorld(t, rising)
	w.related.Rerun, w.run.Spec.Rerun = former(t), rerun(3, v1alpha1.RerunSample)
	d := w.related.Rerun.Status.Iterations[2].Decision
	d.Accepted, d.Reason = ptr.To(false), v1alpha1.ReasonGuardrailTripped
	w.until(3, v1alpha1.StageTrain)
	w.settle()
}
