package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/golden"
	"github.com/spatialalign/operator/internal/jobs"
)

func iterations(n int32) func(*v1alpha1.AlignmentRunSpec) {
	return func(s *v1alpha1.AlignmentRunSpec) { s.Iterations = n }
}

// TestLoop plays whole runs: the order of the stages, their retries, and the ends that the loop itself comes to.
func TestLoop(t *testing.T) {
	playTraces(t, []trace{
		{name: "three-iterations", script: rising},
		{name: "target-reached", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Stopping = &v1alpha1.StoppingSpec{TargetAccuracy: "0.75"}
		}},
		{name: "base-reaches-target", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Stopping = &v1alpha1.StoppingSpec{TargetAccuracy: "0.3"}
		}},
		{name: "no-improvement", script: script{accuracy: []string{"0.35", "0.65", "0.6", "0.65"}}, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Stopping, s.Iterations = &v1alpha1.StoppingSpec{Patience: 2}, 9
		}},
		{name: "samples-in-the-store", script: script{accuracy: rising.accuracy, stored: true}, edit: iterations(1)},
		// The second of two runs that differ in pairing alone.
		{name: "samples-and-tracks-in-the-store", script: script{accuracy: rising.accuracy, stored: true, tracked: true}, edit: iterations(1)},
		{name: "tracks-gone-from-the-store", script: script{accuracy: rising.accuracy, stored: true, tracked: true}, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Retries = 1, ptr.To(int32(0))
		}, play: func(w *world) {
			w.until(0, v1alpha1.StageEvaluationScore)
			w.remark("somebody has cleaned the store")
			w.fail(v1alpha1.StageEvaluationScore, "StageFailed", true)
			w.settle()
		}},
		{name: "too-many-invalid-of-the-tracks-in-the-store", script: script{accuracy: rising.accuracy, stored: true, tracked: true}, play: func(w *world) {
			w.until(0, v1alpha1.StageEvaluationScore)
			w.remark("tracking again would find the same")
			w.fail(v1alpha1.StageEvaluationScore, v1alpha1.ReasonTooManyInvalid, true)
		}},
		{name: "tracks-found-and-the-run-suspended", script: script{accuracy: rising.accuracy, stored: true, tracked: true}, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageScore)
			w.run.Spec.Suspend = ptr.To(true)
			w.step()
			w.run.Spec.Suspend = nil
			w.settle()
		}},
		{name: "stage-fails-for-good", script: rising, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			for range 3 {
				w.fail(v1alpha1.StageTrain, "Bug", false)
			}
		}},
		{name: "stage-fails-once", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageSample)
			w.fail(v1alpha1.StageSample, "Storage", false)
			w.settle()
		}},
		{name: "bad-spec-is-not-retried", script: rising, play: func(w *world) {
			w.step()
			w.fail(v1alpha1.StagePrepare, "BadSpec", true)
		}},
		{name: "deleted-child", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.remove(w.child(v1alpha1.StageTrain).Object.GetName())
			w.settle()
		}},
		{name: "runtime-appears-later", script: rising, edit: iterations(1), play: func(w *world) {
			runtime := w.runtime
			w.runtime = nil
			w.step()
			w.runtime = runtime.DeepCopy()
			w.runtime.Spec.AllowedNamespaces = []string{"team-b"}
			w.step()
			w.runtime = runtime
			w.settle()
		}},
	})
}

// TestChangesWhileTheRunGoesOn: patience looks at the newest decision only, and fewer iterations end at the newest one.
func TestChangesWhileTheRunGoesOn(t *testing.T) {
	tests := []struct {
		name   string
		change func(*v1alpha1.AlignmentRunSpec)
		want   string // message of Complete; empty: the run goes on
	}{
		{"patience after an iteration that rose", func(s *v1alpha1.AlignmentRunSpec) { s.Stopping = &v1alpha1.StoppingSpec{Patience: 1} }, ""},
		{"fewer iterations", iterations(1), "3 iteration(s) evaluated; best is iteration 3's adapter, with accuracy 0.8"},
		{"a target that is reached", func(s *v1alpha1.AlignmentRunSpec) { s.Stopping = &v1alpha1.StoppingSpec{TargetAccuracy: "0.8"} },
			"accuracy 0.8 reaches the target 0.8; best is iteration 3's adapter, with accuracy 0.8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, script{accuracy: []string{"0.3", "0.5", "0.4", "0.8", "0.9"}})
			w.run.Spec.Iterations = 4
			w.until(4, v1alpha1.StageTrain)
			tt.change(&w.run.Spec)
			w.step()
			got := ""
			if c := meta.FindStatusCondition(w.run.Status.Conditions, v1alpha1.ConditionComplete); c != nil {
				got = c.Message
			}
			if got != tt.want {
				t.Errorf("the run ends with %q, want %q", got, tt.want)
			}
		})
	}
}

// TestEndIsSticky: whatever happens after the end, the status stays.
func TestEndIsSticky(t *testing.T) {
	w := newWorld(t, rising)
	w.settle()
	end := w.run.Status.DeepCopy()
	w.run.Spec.Iterations, w.run.Spec.Suspend, w.runtime, w.children = 9, ptr.To(true), nil, nil
	if next := Run(w.base(), w.run, w.related); !cmp.Equal(next.Status, *end) || len(next.Create) > 0 {
		t.Errorf("a run that has ended is planned again: %s", cmp.Diff(*end, next.Status))
	}
}

// TestEndDeletesWhatIsStillActive: a run that fails while the baseline is still sampled stops it.
func TestEndDeletesWhatIsStillActive(t *testing.T) {
	w := newWorld(t, rising)
	w.until(1, v1alpha1.StageSample)
	w.child(v1alpha1.StageSample).Outcome = jobs.Outcome{State: jobs.Failed, Class: "OutOfMemory", Final: true}
	w.step()
	if n := len(w.active()); n != 0 {
		t.Errorf("%d children are still active after the run failed", n)
	}
}

// TestNotCreatedTriesTheSameAttemptAgain: a refused creation uses up nothing.
func TestNotCreatedTriesTheSameAttemptAgain(t *testing.T) {
	w := newWorld(t, rising)
	next := Run(w.base(), w.run, w.related)
	name := next.Create[0].GetName()
	NotCreated(next.Status.Iterations[0].Stages, name, "")
	w.run.Status = next.Status
	again := Run(w.base(), w.run, w.related)
	if len(again.Create) != 1 || again.Create[0].GetName() != name {
		t.Errorf("after a refused creation of %s the plan creates %v", name, again.Create)
	}
}

// TestRefusedAfterTheEnd: what keeps a child from being created after the end of its object is said by its stage.
func TestRefusedAfterTheEnd(t *testing.T) {
	w := newWorld(t, rising)
	w.breaks(1, v1alpha1.StageTrain)
	next := Run(w.base(), w.run, w.related)
	stages := next.Status.Iterations[1].Stages
	NotCreated(stages, next.Create[0].GetName(), "the namespace is frozen")
	if rec := stages[len(stages)-1]; rec.Child != "" || rec.State != v1alpha1.StageRunning || rec.Message != "the namespace is frozen" {
		t.Errorf("the stage is %+v", rec)
	}
}

// TestStagesOfARun shows the Jobs and objects of one whole iteration as YAML.
func TestStagesOfARun(t *testing.T) {
	w := newWorld(t, rising)
	w.run.Spec.Iterations = 1
	w.settle()
	var all strings.Builder
	for _, c := range w.children {
		data, err := yaml.Marshal(c.Object)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("---\n" + string(data))
	}
	golden.Check(t, "children.yaml", all.String())
}
