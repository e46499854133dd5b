package watch

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) *metav1.Time {
	t := metav1.NewTime(begin.Add(time.Duration(seconds) * time.Second))
	return &t
}

// children of a run, by name.
type children struct {
	batches  map[string]*v1alpha1.ScoringBatch
	datasets map[string]*v1alpha1.PreferenceDataset
}

func newRun() *v1alpha1.AlignmentRun {
	return &v1alpha1.AlignmentRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "first-run", UID: "run-uid", CreationTimestamp: *at(-1)},
		Spec: v1alpha1.AlignmentRunSpec{
			RuntimeRef: v1alpha1.RuntimeReference{Name: "synthetic"}, Iterations: 3,
			Evaluation: &v1alpha1.EvaluationSpec{HeadlineThreshold: "0.7"},
		},
	}
}

// started is a run that was accepted.
func started() *v1alpha1.AlignmentRun {
	run := newRun()
	run.Status.Phase = v1alpha1.PhaseRunning
	run.Status.StartTime = at(0)
	run.Status.Runtime = &v1alpha1.RuntimeSnapshot{Spec: v1alpha1.AlignmentRuntimeSpec{Model: v1alpha1.ModelSpec{Name: "synthetic-base"}}}
	return run
}

func condition(kind, reason, message string, seconds int) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: *at(seconds)}
}

func done(name v1alpha1.StageName, from, to int) v1alpha1.StageStatus {
	return v1alpha1.StageStatus{Name: name, State: v1alpha1.StageSucceeded, Attempt: new(int32(0)), StartTime: at(from), CompletionTime: at(to)}
}

func running(name v1alpha1.StageName, child string, from int) v1alpha1.StageStatus {
	return v1alpha1.StageStatus{Name: name, State: v1alpha1.StageRunning, Attempt: new(int32(0)), StartTime: at(from), Child: child}
}

func summary(accuracy string) *v1alpha1.ScoreSummary {
	return &v1alpha1.ScoreSummary{
		Total: new(int64(600)), Scored: new(int64(590)), Invalid: new(int64(10)), Missing: new(int64(0)),
		Accuracy: []v1alpha1.AccuracyAt{{Threshold: "0.6", Value: "0.99"}, {Threshold: "0.7", Value: v1alpha1.Fraction(accuracy)}},
	}
}

// baseline is iteration 0, evaluated.
func baseline() v1alpha1.IterationStatus {
	return v1alpha1.IterationStatus{
		Iteration: new(int32(0)), StartTime: at(0), CompletionTime: at(24),
		Stages: []v1alpha1.StageStatus{
			done(v1alpha1.StagePrepare, 0, 3), done(v1alpha1.StageEvaluationSample, 3, 15), done(v1alpha1.StageEvaluationScore, 15, 24),
		},
		Evaluation: summary("0.352"),
	}
}

// stuckInPrepare is a run whose first stage cannot begin.
func stuckInPrepare() *v1alpha1.AlignmentRun {
	run := started()
	prepare := running(v1alpha1.StagePrepare, "first-run-0-prepare", 1)
	prepare.Message = "pod first-run-0-prepare-0-x7x2k: ImagePullBackOff: Back-off pulling image \"spatialalign:1\""
	run.Status.Iterations = []v1alpha1.IterationStatus{{Iteration: new(int32(0)), StartTime: at(1), Stages: []v1alpha1.StageStatus{prepare}}}
	return run
}

// finished is iteration n with its decision.
func finished(n int32, from int, accuracy string, accepted bool) v1alpha1.IterationStatus {
	it := v1alpha1.IterationStatus{
		Iteration: new(n), StartTime: at(from), CompletionTime: at(from + 50),
		Pairs:      &v1alpha1.PairSummary{Pairs: new(int64(50 * n))},
		Evaluation: summary(accuracy),
		Decision:   &v1alpha1.Decision{Accepted: new(accepted), Message: fmt.Sprintf("Acc@0.7 %s against the best one's", accuracy)},
	}
	names := iterationStages
	if n == 1 {
		names = names[1:] // its samples are listed by the run's own Prepare
	}
	for i, name := range names {
		it.Stages = append(it.Stages, done(name, from+5*i, from+5*i+5))
	}
	return it
}

// midway is a run whose iteration 1 is being scored by a child while nothing else runs.
func midway() (*v1alpha1.AlignmentRun, children) {
	run := started()
	run.Status.Iterations = []v1alpha1.IterationStatus{baseline(), {
		Iteration: new(int32(1)), StartTime: at(3),
		Stages: []v1alpha1.StageStatus{
			done(v1alpha1.StageSample, 3, 25), running(v1alpha1.StageScore, "first-run-1-score", 25),
		},
	}}
	batch := &v1alpha1.ScoringBatch{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "first-run-1-score", Labels: map[string]string{v1alpha1.LabelRun: "first-run"}},
		Status: v1alpha1.ScoringBatchStatus{
			Progress: &v1alpha1.ProgressStatus{
				Stage: v1alpha1.StageTrack, Percentage: new(int32(55)), EstimatedRemainingSeconds: new(int64(20)), LastUpdatedTime: at(30),
			},
			Stages: []v1alpha1.StageStatus{running(v1alpha1.StageTrack, "", 25)},
		},
	}
	return run, children{batches: map[string]*v1alpha1.ScoringBatch{batch.Name: batch}}
}

func ended(kind, reason, message string) *v1alpha1.AlignmentRun {
	run := started()
	run.Status.Phase = v1alpha1.PhaseSucceeded
	if kind == v1alpha1.ConditionFailed {
		run.Status.Phase = v1alpha1.PhaseFailed
	}
	run.Status.CompletionTime = at(140)
	run.Status.Conditions = []metav1.Condition{condition(kind, reason, message, 140)}
	run.Status.Iterations = []v1alpha1.IterationStatus{baseline(), finished(1, 24, "0.641", true), finished(2, 80, "0.612", false)}
	run.Status.Best = &v1alpha1.BestAdapter{
		Iteration: new(int32(1)), Accuracy: "0.641",
		Adapter: &v1alpha1.ArtifactReference{Key: "runs/team-a/first-run/1/train/0-pod/0/adapter.safetensors", Digest: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
	}
	return run
}

func view(run *v1alpha1.AlignmentRun, c children) View { return NewView(run, c.batches, c.datasets) }
