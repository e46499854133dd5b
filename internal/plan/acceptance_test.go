package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
)

func acceptance(edit func(*v1alpha1.AcceptanceSpec)) func(*v1alpha1.AlignmentRunSpec) {
	return func(s *v1alpha1.AlignmentRunSpec) {
		s.Iterations = 2
		edit(s.Acceptance)
	}
}

// TestAcceptanceGate plays decisions. The world's comparison is the difference of the accuracies, plus and minus 0.1.
func TestAcceptanceGate(t *testing.T) {
	confident := acceptance(func(a *v1alpha1.AcceptanceSpec) { a.Confidence = "0.9" })
	guarded := acceptance(func(a *v1alpha1.AcceptanceSpec) {
		a.GuardMetrics = []v1alpha1.GuardMetric{{Name: "validFraction", MaxDrop: "0.05"}}
	})
	playTraces(t, []trace{
		{name: "rejected-adapter-is-rolled-back", script: script{accuracy: []string{"0.35", "0.65", "0.6", "0.7"}}},
		{name: "acceptance-min-delta", script: script{accuracy: []string{"0.35", "0.65", "0.69"}}, edit: acceptance(func(a *v1alpha1.AcceptanceSpec) {
			a.MinDelta = "0.05"
		})},
		{name: "acceptance-with-confidence", script: script{accuracy: []string{"0.35", "0.45", "0.54"}}, edit: confident},
		{name: "acceptance-on-reject-stop", script: script{accuracy: []string{"0.35", "0.3"}}, edit: acceptance(func(a *v1alpha1.AcceptanceSpec) {
			a.OnReject = v1alpha1.RejectStop
		})},
		{name: "guardrail-holds", script: script{accuracy: rising.accuracy, guard: map[int32]string{1: "0.85", 2: "0.82"}}, edit: guarded},
		{name: "guardrail-tripped", script: script{accuracy: rising.accuracy, guard: map[int32]string{2: "0.849"}}, edit: guarded},
		{name: "guardrail-of-a-rejected-adapter-does-not-matter", script: script{accuracy: []string{"0.35", "0.3", "0.4"}, guard: map[int32]string{1: "0.1"}}, edit: guarded},
	})
}

// TestGuardMetrics: worse is less for some and more for others, and what cannot be measured any more is worse.
func TestGuardMetrics(t *testing.T) {
	tests := []struct {
		name, was, is string
		tripped       bool
	}{
		{"validFraction", "0.9", "0.8", false},
		{"validFraction", "0.9", "0.799999", true},
		{"validFraction", "0.9", "1", false},
		{"areaRatio", "0.5", "0.3", true},
		{"subjectJump", "2.5", "2.6", false},
		{"subjectJump", "2.5", "2.7", true},
		{"subjectJump", "2.5", "0.1", false},
		{"objectDrift", "0.01", "0.2", true},
		{"objectDrift", "0.01", "", true},
		{"objectDrift", "", "0.9", false},
		{"objectDrift", "", "", false},
	}
	summary := func(name, value string) *v1alpha1.ScoreSummary {
		if value == "" {
			return &v1alpha1.ScoreSummary{}
		}
		return &v1alpha1.ScoreSummary{Guards: []v1alpha1.NamedMetric{{Name: name, Value: value}}}
	}
	for _, tt := range tests {
		w := newWorld(t, rising)
		w.until(1, v1alpha1.StageCompare)
		w.run.Spec.Acceptance.GuardMetrics = []v1alpha1.GuardMetric{{Name: v1alpha1.GuardName(tt.name), MaxDrop: "0.1"}}
		r := &runPlan{run: w.run, status: w.run.Status}
		r.record(0).Evaluation = summary(tt.name, tt.was)
		if got := r.tripped(&v1alpha1.IterationStatus{Evaluation: summary(tt.name, tt.is)}); (got != "") != tt.tripped {
			t.Errorf("%s from %q to %q: %q", tt.name, tt.was, tt.is, got)
		}
	}
}

// TestTrackGuards: the batches of the evaluation, and no others, ask for the guard metrics that only a tracker can measure.
func TestTrackGuards(t *testing.T) {
	w := newWorld(t, rising)
	w.run.Spec.Iterations = 1
	w.run.Spec.Acceptance.GuardMetrics = []v1alpha1.GuardMetric{{Name: "validFraction", MaxDrop: "0.1"}, {Name: "identityConsistency", MaxDrop: "0.1"}}
	w.settle()
	for _, c := range w.children {
		batch, ok := c.Object.(*v1alpha1.ScoringBatch)
		if !ok {
			continue
		}
		var want []v1alpha1.TrackGuardName
		if c.Place.Stage == v1alpha1.StageEvaluationScore {
			want = []v1alpha1.TrackGuardName{"identityConsistency"}
		}
		if diff := cmp.Diff(want, batch.Spec.RequiredGuards); diff != "" {
			t.Errorf("%s: %s", placed(c.Place), diff)
		}
	}
	for name, lower := range map[string]bool{"0.8": true, "0.9": false} {
		r := &runPlan{run: w.run, status: w.run.Status}
		r.record(1).Evaluation.Guards = []v1alpha1.NamedMetric{{Name: "validFraction", Value: "0.9"}, {Name: "identityConsistency", Value: "0.95"}}
		is := &v1alpha1.ScoreSummary{Guards: []v1alpha1.NamedMetric{{Name: "validFraction", Value: "0.9"}, {Name: "identityConsistency", Value: name}}}
		if got := r.tripped(&v1alpha1.IterationStatus{Evaluation: is}); (got != "") != lower {
			t.Errorf("identityConsistency from 0.95 to %s: %q", name, got)
		}
	}
}

// TestComparison: a candidate is compared with the best one, with the confidence of the spec or the shown one.
func TestComparison(t *testing.T) {
	w := newWorld(t, script{accuracy: []string{"0.35", "0.65", "0.6", "0.7"}})
	w.run.Spec.Acceptance.Confidence = "0.9"
	w.until(3, v1alpha1.StageCompare)
	want := &contract.CompareSpec{
		Best: file("it1/evaluation-scores"), Candidate: file("it3/evaluation-scores"), Threshold: "0.7", Confidence: "0.9", Resamples: 10000,
	}
	if diff := cmp.Diff(want, specOf(t, w.child(v1alpha1.StageCompare)).Compare); diff != "" {
		t.Error(diff)
	}
	w.run.Spec.Acceptance.Confidence = ""
	if got := (&runPlan{run: w.run}).confidence(); got != "0.95" {
		t.Errorf("without a confidence the interval in status has %s", got)
	}
}

// TestRollback: after a rejection the next iteration samples and trains from the best adapter, with new seeds.
func TestRollback(t *testing.T) {
	w := newWorld(t, script{accuracy: []string{"0.35", "0.65", "0.6", "0.7"}})
	w.until(3, v1alpha1.StageTrain)
	train := specOf(t, w.child(v1alpha1.StageTrain)).Train
	if best := file("it1/adapter"); train.StartAdapter == nil || *train.StartAdapter != best || train.Iteration != 3 {
		t.Errorf("iteration %d trains from %v", train.Iteration, train.StartAdapter)
	}
	for _, c := range w.children {
		if c.Place.Iteration == 3 && c.Place.Stage == v1alpha1.StagePrepare {
			set := specOf(t, c).Prepare.Sets[0]
			if set.Seeds.Iteration != 3 || set.Sampling.Adapter == nil || *set.Sampling.Adapter != file("it1/adapter") {
				t.Errorf("iteration 3 samples with %+v from %v", set.Seeds, set.Sampling.Adapter)
			}
		}
	}
}
