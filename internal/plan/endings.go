package plan

import (
	"fmt"
	"strconv"

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
	r.status.Phase, r.status.CompletionTime, r.status.Progress = v1alpha1.PhaseSucceeded, &r.Now, nil
	r.cond.complete(e.reason, fmt.Sprintf("%s; %s", e.message, r.bestText()))
	return r.stop()
}

// stop deletes what is still active, and looks once more for a child that the cache does not show yet.
func (r *runPlan) stop() Next[v1alpha1.AlignmentRunStatus] {
	return Next[v1alpha1.AlignmentRunStatus]{Status: r.status, Delete: unfinished(r.Children), RequeueAfter: r.Config.ProgressInterval}
}

func (r *runPlan) fail(f *failure) Next[v1alpha1.AlignmentRunStatus] {
	r.status.Phase, r.status.CompletionTime, r.status.Progress = v1alpha1.PhaseFailed, &r.Now, nil
	r.cond.fail(&failure{f.reason, fmt.Sprintf("%s; %s", f.message, r.bestText())})
	return r.stop()
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

// evaluated records what an adapter, or the base model, scores on the held-out prompts.
func (r *runPlan) evaluated(k int32, summary *v1alpha1.ScoreSummary) {
	it := r.record(k)
	it.Evaluation = summary
	r.status.Accuracy = accuracyAt(summary, r.resolved.headline)
	if k == 0 {
		it.CompletionTime = &r.Now
		r.status.Best = &v1alpha1.BestAdapter{Iteration: ptr.To(int32(0)), Accuracy: r.status.Accuracy}
	}
}

// decide is the acceptance gate: the candidate replaces the best when its accuracy is at least the best's plus minDelta.
func (r *runPlan) decide(k int32) {
	it, best := r.record(k), r.status.Best
	candidate := accuracyAt(it.Evaluation, r.resolved.headline)
	delta := decimal(candidate) - decimal(best.Accuracy)
	accepted := delta+epsilon >= decimal(r.resolved.minDelta)
	it.Decision = &v1alpha1.Decision{Accepted: ptr.To(accepted), Message: fmt.Sprintf(
		"accuracy %s against %s of iteration %d, %+.6f, minDelta %s", candidate, best.Accuracy, *best.Iteration, delta, r.resolved.minDelta)}
	it.CompletionTime = &r.Now
	r.status.Accuracy = candidate
	if accepted {
		r.status.Best = &v1alpha1.BestAdapter{Iteration: ptr.To(k), Accuracy: candidate, Adapter: it.Adapter}
	}
	r.trim(k)
}

// trim drops the outputs that only stages up to iteration k read, so that status stays small.
func (r *runPlan) trim(k int32) {
	for i := range r.status.Iterations {
		if it := &r.status.Iterations[i]; *it.Iteration <= k {
			for j := range it.Stages {
				it.Stages[j].Outputs = nil
			}
		}
	}
}

// pairing says whether iteration k's pairs end the run.
func (r *runPlan) pairing(k int32) *ending {
	p, total := r.record(k).Pairs, *r.record(k).Samples.Total
	winners, losers, invalid := *p.Winners, *p.Losers, *p.Invalid
	counts := fmt.Sprintf("iteration %d: %d winners, %d losers, %d invalid or missing", k, winners, losers, invalid)
	switch {
	case losers+invalid == total:
		return &ending{v1alpha1.ReasonCollapsed, "every sample loses or is invalid; " + counts, true}
	case winners+invalid == total:
		return &ending{v1alpha1.ReasonConverged, "every sample wins; " + counts, false}
	case *p.Pairs == 0:
		return &ending{v1alpha1.ReasonInsufficientPairs, "no prompt has both a winner and a loser; " + counts + "; more samplesPerPrompt may help", true}
	default:
		return nil
	}
}

// enough says whether the run may end after iteration k's decision.
func (r *runPlan) enough(k int32) *ending {
	if end := r.targetReached(); end != nil {
		return end
	}
	s := r.run.Spec.Stopping
	if s == nil || s.Patience == 0 {
		return nil
	}
	if flat := k - r.lastRise(k); flat >= s.Patience {
		return &ending{v1alpha1.ReasonNoImprovement, fmt.Sprintf("%d iteration(s) in a row did not raise the best accuracy", flat), false}
	}
	return nil
}

// lastRise is the last iteration up to k whose adapter was better than all before it.
func (r *runPlan) lastRise(k int32) int32 {
	best, last := -1.0, int32(0)
	for i := int32(0); i <= k; i++ {
		it := r.record(i)
		accepted := i == 0 || it.Decision != nil && *it.Decision.Accepted
		if a := decimal(accuracyAt(it.Evaluation, r.resolved.headline)); accepted && a > best+epsilon {
			best, last = a, i
		}
	}
	return last
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
