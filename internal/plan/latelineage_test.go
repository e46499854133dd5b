package plan

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

// breaks lets a stage of iteration k use up its attempts.
func (w *world) breaks(k int32, stage v1alpha1.StageName) {
	w.t.Helper()
	w.until(k, stage)
	for range 3 {
		w.fail(stage, "Bug", false)
	}
}

// aftermath lets what still runs after the end of a run succeed, until nothing more comes.
func (w *world) aftermath() {
	w.t.Helper()
	for range 10 {
		w.step()
		for _, c := range w.active() {
			w.succeed(c)
		}
	}
}

// TestLateLineages plays runs that end at once in the middle of an iteration: what it had made is recorded afterwards.
func TestLateLineages(t *testing.T) {
	deleteAtOnce := func(s *v1alpha1.AlignmentRunSpec) {
		s.TTLSecondsAfterFinished, s.Cleanup = ptr.To(int32(0)), v1alpha1.CleanupAlways
	}
	playTraces(t, []trace{
		{name: "late-lineage-after-a-failed-training", script: rising, edit: deleteAtOnce, play: func(w *world) {
			w.breaks(1, v1alpha1.StageTrain)
			w.aftermath()
		}},
		{name: "late-lineage-after-the-deadline", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) { s.ActiveDeadlineSeconds = 3600 }, play: func(w *world) {
			w.until(1, v1alpha1.StageEvaluationSample)
			w.remark("an hour passes")
			w.pass(3600)
			w.aftermath()
		}},
		{name: "late-lineage-of-a-spent-budget", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			budget("1.5", "")(s)
			s.Budget.OnExceeded = v1alpha1.BudgetStop
		}, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.remark("training takes two hours")
			w.pass(7200)
			w.aftermath()
		}},
		{name: "late-lineage-beside-a-decided-one", script: rising, play: func(w *world) {
			w.until(1, v1alpha1.StageLineage)
			for w.running(2, v1alpha1.StageTrain) == nil {
				for _, c := range w.active() {
					if c.Place.Stage != v1alpha1.StageLineage {
						w.succeed(c)
					}
				}
				w.step()
			}
			w.remark("the record of iteration 1 takes its time")
			for range 3 {
				w.fail(v1alpha1.StageTrain, "Bug", false)
			}
			w.aftermath()
		}},
		{name: "late-lineage-fails", script: rising, edit: deleteAtOnce, play: func(w *world) {
			w.breaks(1, v1alpha1.StageTrain)
			w.step()
			for range 3 {
				w.fail(v1alpha1.StageLineage, "Storage", false)
			}
			w.aftermath()
		}},
		{name: "late-lineage-does-not-come", script: rising, edit: deleteAtOnce, play: func(w *world) {
			w.breaks(1, v1alpha1.StageTrain)
			w.step()
			w.remark("no node has room for its pod, for half an hour")
			w.child(v1alpha1.StageLineage).Outcome.Message = "0/3 nodes are available"
			w.pass(900)
			w.step()
			w.pass(900)
			w.steps(3)
		}},
		{name: "late-lineage-of-nothing", script: rising, play: func(w *world) {
			w.until(1, v1alpha1.StageSample)
			for range 3 {
				w.fail(v1alpha1.StageSample, "Bug", false)
			}
			w.aftermath()
		}},
	})
}

// running is the active child of a stage of an iteration; nil where there is none.
func (w *world) running(k int32, stage v1alpha1.StageName) *Child {
	active := w.active()
	if i := slices.IndexFunc(active, func(c *Child) bool { return c.Place.Iteration == k && c.Place.Stage == stage }); i >= 0 {
		return active[i]
	}
	return nil
}

// TestLateRecords: a record tells what the iteration had come to, and how the run ended.
func TestLateRecords(t *testing.T) {
	for _, c := range []struct {
		k         int32
		stage     v1alpha1.StageName // that fails
		artifacts string             // beside the prompts
		results   string             // beside the GPU time
		trained   bool
	}{
		{1, v1alpha1.StageScore, "index/0", "", false},
		{1, v1alpha1.StagePair, "scores/0", "", false},
		{1, v1alpha1.StageTrain, "pairs scores/0", "pairs usablePrompts", false},
		{1, v1alpha1.StageEvaluationSample, "adapter pairs scores/0", "pairs training/loss usablePrompts", true},
		{1, v1alpha1.StageCompare, "adapter evaluation pairs scores/0", "accuracy guard/validFraction headlineThreshold pairs training/loss usablePrompts", true},
		{2, v1alpha1.StageCompare, "adapter evaluation pairs scores/0 startAdapter", "accuracy guard/validFraction headlineThreshold pairs training/loss usablePrompts", true},
	} {
		w := newWorld(t, rising)
		w.breaks(c.k, c.stage)
		w.step()
		record := specOf(t, w.child(v1alpha1.StageLineage)).Lineage.Record
		want := append(strings.Fields(c.artifacts), "prompts/evaluation", "prompts/train")
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(record.Artifacts))); diff != "" {
			t.Errorf("iteration %d, %s: artifacts (-want +got):\n%s", c.k, c.stage, diff)
		}
		want = append(strings.Fields(c.results), "gpuSeconds")
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(record.Results))); diff != "" {
			t.Errorf("iteration %d, %s: results (-want +got):\n%s", c.k, c.stage, diff)
		}
		if record.Accepted || !strings.HasPrefix(record.Reason, "The run ended with StageFailed: iteration ") || (record.Training != nil) != c.trained {
			t.Errorf("iteration %d, %s: accepted=%t, %q, training %+v", c.k, c.stage, record.Accepted, record.Reason, record.Training)
		}
		var previous *contract.Artifact
		if c.k > 1 {
			previous = ptr.To(file("it1/lineage"))
		}
		if diff := cmp.Diff(previous, record.Previous); diff != "" {
			t.Errorf("iteration %d, %s: the record before (-want +got):\n%s", c.k, c.stage, diff)
		}
		end := w.run.Status.DeepCopy()
		w.aftermath()
		is := w.run.Status
		if l := is.Iterations[c.k].Lineage; l == nil || !cmp.Equal(is.Conditions, end.Conditions) || is.Phase != v1alpha1.PhaseFailed || !is.CompletionTime.Equal(end.CompletionTime) {
			t.Errorf("iteration %d, %s: lineage %v, phase %s, %+v", c.k, c.stage, l, is.Phase, is.Conditions)
		}
	}
}

// TestEndDoesNotWaitForLateLineages: the run has ended before the first of them starts, and uses no GPU for them.
func TestEndDoesNotWaitForLateLineages(t *testing.T) {
	w := newWorld(t, rising)
	w.breaks(1, v1alpha1.StageTrain)
	if !meta.IsStatusConditionTrue(w.run.Status.Conditions, v1alpha1.ConditionFailed) || len(w.active()) > 0 {
		t.Errorf("the run is %s, and %v run", w.run.Status.Phase, w.stagesActive())
	}
	w.step()
	spent := w.run.Status.GPUSeconds
	w.pass(600)
	w.step()
	if got := w.stagesActive(); len(got) != 1 || w.run.Status.GPUSeconds != spent {
		t.Errorf("%v run, %d GPU-seconds after %d", got, w.run.Status.GPUSeconds, spent)
	}
}

// TestLateLineagesAreHeld: nothing starts in a namespace that is deleted, or that the runtime no longer lists.
func TestLateLineagesAreHeld(t *testing.T) {
	w := newWorld(t, rising)
	w.breaks(1, v1alpha1.StageTrain)
	leaving := w.base()
	leaving.Leaving = true
	withdrawn := w.base()
	withdrawn.Runtime = w.runtime.DeepCopy()
	withdrawn.Runtime.Spec.AllowedNamespaces = nil
	for why, base := range map[string]Base{"leaving": leaving, "withdrawn": withdrawn} {
		if next := Run(base, w.run, w.related); len(next.Create) > 0 {
			t.Errorf("%s: %s is created", why, next.Create[0].GetName())
		}
	}
	if next := Run(w.base(), w.run, w.related); len(next.Create) != 1 {
		t.Errorf("%d children are created where nothing holds", len(next.Create))
	}
}

// TestRunsThatEndedBefore: a run that ended without leaving a lineage open starts nothing.
func TestRunsThatEndedBefore(t *testing.T) {
	w := newWorld(t, rising)
	w.breaks(1, v1alpha1.StageTrain)
	it := &w.run.Status.Iterations[1]
	it.Stages = slices.DeleteFunc(it.Stages, func(rec v1alpha1.StageStatus) bool { return rec.Name == v1alpha1.StageLineage })
	if next := w.step(); len(next.Create) > 0 || next.RequeueAfter != 0 || !next.Deferrable {
		t.Errorf("it goes on: %+v", next)
	}
}
