package plan

import (
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// ending is how a run ends; bad ones fail it.
type ending struct {
	reason  string
	message string
	bad     bool
}

// end records a run's end and deletes what is still active.
func (r *runPlan) end(e *ending) Next[v1alpha1.AlignmentRunStatus] {
	if e.bad {
		return r.fail(&failure{e.reason, e.message})
	}
	r.status.Phase = v1alpha1.PhaseSucceeded
	r.cond.complete(e.reason, fmt.Sprintf("%s; %s", e.message, r.bestText()))
	return r.stop(e.reason)
}

// stop deletes what is still active but for lineages, and looks once more for a child that the cache does not show yet.
func (r *runPlan) stop(reason string) Next[v1alpha1.AlignmentRunStatus] {
	r.idle()
	for i := range r.status.Iterations {
		stopStages(r.status.Iterations[i].Stages, reason, r.Now)
	}
	r.status.CompletionTime, r.status.Progress, r.status.PendingApproval = &r.Now, nil, nil
	r.answered()
	r.lateLineages(everyStage) // a lineage begins when the end is written: no other may follow then
	next := Next[v1alpha1.AlignmentRunStatus]{Status: r.status, Delete: r.leftBehind(none), RequeueAfter: r.Config.ProgressInterval}
	if r.writing() {
		next.RequeueAfter = min(next.RequeueAfter, firstLook)
	}
	return next
}

// stopStages ends the stages that still run when their run ends, but for a lineage, which is still to be written. What a stage said
// last, such as the class of a failure, stands before why it was stopped.
func stopStages(records []v1alpha1.StageStatus, reason string, now metav1.Time) {
	for i := range records {
		rec := &records[i]
		if rec.State != v1alpha1.StageRunning || rec.Name == v1alpha1.StageLineage {
			continue
		}
		rec.State, rec.CompletionTime, rec.StuckSince = v1alpha1.StageStopped, &now, nil
		why := "stopped, as the run ended: " + reason
		if rec.Message != "" {
			why = clip(rec.Message, maxStageMessage-len(why)-2) + "; " + why
		}
		rec.Message = why
	}
}

func (r *runPlan) fail(f *failure) Next[v1alpha1.AlignmentRunStatus] {
	r.status.Phase = v1alpha1.PhaseFailed
	r.cond.fail(&failure{f.reason, fmt.Sprintf("%s; %s", f.message, r.bestText())})
	r.openLineages()
	return r.stop(f.reason)
}

func (r *runPlan) bestText() string {
	switch b := r.status.Best; {
	case b == nil:
		return "nothing is evaluated yet"
	case b.Adapter == nil:
		return fmt.Sprintf("the base model is best, with accuracy %s", b.Accuracy)
	default:
		return fmt.Sprintf("best is iteration %d's adapter, with accuracy %s", *b.Iteration, b.Accuracy)
	}
}

// enough says whether the run ends after iteration k's decision.
func (r *runPlan) enough(k int32) *ending {
	if again := r.run.Spec.Rerun; again != nil && k < again.Iteration {
		return r.targetReached() // another run's decisions end that run
	}
	if it := r.record(k); k > 0 && !*it.Decision.Accepted {
		switch onReject := ptr.Deref(r.run.Spec.Acceptance, v1alpha1.AcceptanceSpec{}).OnReject; {
		case it.Decision.Reason == v1alpha1.ReasonGuardrailTripped:
			return &ending{v1alpha1.ReasonGuardrailTripped, fmt.Sprintf("iteration %d: %s", k, it.Decision.Message), true}
		case onReject == v1alpha1.RejectStop:
			return &ending{v1alpha1.ReasonRejected, fmt.Sprintf("iteration %d is rejected: %s", k, it.Decision.Message), false}
		}
	}
	if end := r.targetReached(); end != nil {
		return end
	}
	s := r.run.Spec.Stopping
	if s == nil || s.Patience == 0 {
		return nil
	}
	if flat := k - r.status.LastImprovedIteration; flat >= s.Patience {
		return &ending{v1alpha1.ReasonNoImprovement, fmt.Sprintf("%d iteration(s) in a row did not raise the best accuracy", flat), false}
	}
	return nil
}

func (r *runPlan) targetReached() *ending {
	s, best := r.run.Spec.Stopping, r.status.Best
	if s == nil || s.TargetAccuracy == "" || best == nil || decimal(best.Accuracy)+epsilon < decimal(s.TargetAccuracy) {
		return nil
	}
	return &ending{v1alpha1.ReasonTargetReached, fmt.Sprintf("accuracy %s reaches the target %s", best.Accuracy, s.TargetAccuracy), false}
}

// epsilon is below the last digit that accuracies are reported with.
const epsilon = 1e-9

func accuracyAt(s *v1alpha1.ScoreSummary, threshold v1alpha1.Fraction) v1alpha1.Fraction {
	for _, a := range s.Accuracy {
		if a.Threshold == threshold {
			return a.Value
		}
	}
	return "0"
}

// decimal of a fraction that admission or the score stage has checked.
func decimal(f v1alpha1.Fraction) float64 {
	v, err := strconv.ParseFloat(string(f), 64)
	if err != nil {
		return 0
	}
	return v
}
