package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

const (
	// shownConfidence is that of the interval in status when acceptance.confidence asks for none.
	shownConfidence = "0.95"
	// bootstrapResamples and bootstrapSeed of the comparison: docs/alignmentrun.md.
	bootstrapResamples = 10_000
	bootstrapSeed      = 0
	// fewPrompts is the number of prompts below which a bootstrap over them says too little.
	fewPrompts = 20
)

// evaluated records what an adapter, or what the run starts from, scores on the held-out prompts.
func (r *runPlan) evaluated(k int32, summary *v1alpha1.ScoreSummary) {
	it := r.record(k)
	it.Evaluation = summary
	r.status.Accuracy = accuracyAt(summary, r.resolved.headline)
	if k == 0 {
		it.CompletionTime, it.Adapter = &r.Now, r.run.Spec.InitialAdapter
		r.status.Best = &v1alpha1.BestAdapter{Iteration: ptr.To(int32(0)), Accuracy: r.status.Accuracy, Adapter: r.run.Spec.InitialAdapter}
	}
}

// compare bootstraps the difference between iteration k's evaluation and the best one's. Where that tells nothing, as they ran
// on different GPU models, the best is evaluated again and compared once more.
func (r *runPlan) compare(k int32) bool {
	if it := r.record(k); it.Comparison == nil && it.Reevaluation == nil && !r.compared(k, v1alpha1.StageCompare) {
		return false
	}
	return r.reevaluate(k) && (r.record(k).Comparison != nil || r.compared(k, v1alpha1.StageReevaluationCompare))
}

// compared records the comparison of a stage.
func (r *runPlan) compared(k int32, stage v1alpha1.StageName) bool {
	_, child := r.step(jobs.Place{Iteration: k, Stage: stage}, r.compareEvaluations)
	if child != nil {
		m := child.Outcome.Metrics
		r.record(k).Comparison = &v1alpha1.Comparison{
			Iteration: r.status.Best.Iteration, Confidence: r.confidence(), Verdict: reference(child.Outcome.Outputs["verdict"]),
			Delta: signed(m["delta"]), LowerBound: signed(m["lowerBound"]), UpperBound: signed(m["upperBound"]),
			Devices: comparedDevices(child.Outcome.Devices),
		}
	}
	return r.record(k).Comparison != nil
}

// best is what the best adapter was last evaluated to.
func (r *runPlan) best() *v1alpha1.ScoreSummary {
	return r.measured(*r.status.Best.Iteration, r.decided()+1)
}

// signed is a metric in the form that status has it.
func signed(metric string) v1alpha1.SignedFraction {
	v := min(max(decimal(v1alpha1.Fraction(metric)), -1), 1)
	return v1alpha1.SignedFraction(strconv.FormatFloat(v, 'f', 6, 64))
}

func (r *runPlan) compareEvaluations(p jobs.Place) Object {
	return r.job(p, contract.Spec{Stage: contract.Compare, Compare: &contract.CompareSpec{
		Best: artifact(*r.best().Scores), Candidate: artifact(*r.record(p.Iteration).Evaluation.Scores),
		Threshold: string(r.resolved.headline), Confidence: string(r.confidence()), Resamples: bootstrapResamples, Seed: bootstrapSeed,
	}})
}

func (r *runPlan) confidence() v1alpha1.Fraction {
	return or(ptr.Deref(r.run.Spec.Acceptance, v1alpha1.AcceptanceSpec{}).Confidence, shownConfidence)
}

// decide is the acceptance gate: the candidate replaces the best when its accuracy, or the lower bound of its gain, gains
// minDelta, no guard metric got too much worse, and nobody who is asked denies it.
func (r *runPlan) decide(k int32) (end *ending, done bool) {
	it, best := r.record(k), r.status.Best
	c := it.Comparison
	gain, what := c.Delta, "the gain"
	acceptance := ptr.Deref(r.run.Spec.Acceptance, v1alpha1.AcceptanceSpec{})
	if acceptance.Confidence != "" {
		gain, what = c.LowerBound, "its lower bound"
	}
	message := fmt.Sprintf("accuracy %s against %s of iteration %d: gain %s, from %s to %s with confidence %s each; %s must reach %s",
		accuracyAt(it.Evaluation, r.resolved.headline), best.Accuracy, *best.Iteration, c.Delta, c.LowerBound, c.UpperBound, c.Confidence,
		what, r.resolved.minDelta)
	if n := r.status.Prompts.Evaluation.Count; n < fewPrompts {
		message += fmt.Sprintf("; with %d evaluation prompts the bounds are too optimistic, take at least %d", n, fewPrompts)
	}
	message += otherDevices(it)
	if decimal(v1alpha1.Fraction(gain))+epsilon < decimal(r.resolved.minDelta) {
		r.reject(k, v1alpha1.ReasonTooLittleGain, message)
		return nil, true
	}
	if tripped := r.tripped(it); tripped != "" {
		r.reject(k, v1alpha1.ReasonGuardrailTripped, message+"; "+tripped)
		return nil, true
	}
	ok, end := r.approved(k, v1alpha1.GateEvaluate, it.Adapter)
	switch denied := r.answer(k, v1alpha1.GateEvaluate); {
	case ok:
		r.take(k, message)
	case denied != nil:
		r.reject(k, v1alpha1.ReasonApprovalDenied, message+"; denied by AlignmentApproval "+denied.Approval)
	default:
		return end, false
	}
	return nil, true
}

// take makes iteration k's adapter the best one.
func (r *runPlan) take(k int32, message string) {
	it := r.record(k)
	accuracy := accuracyAt(it.Evaluation, r.resolved.headline)
	if decimal(accuracy) > decimal(r.status.Best.Accuracy)+epsilon {
		r.status.LastImprovedIteration = k
	}
	r.status.Best = &v1alpha1.BestAdapter{Iteration: ptr.To(k), Accuracy: accuracy, Adapter: it.Adapter}
	r.settle(k, true, v1alpha1.ReasonAccepted, message)
}

func (r *runPlan) reject(k int32, reason, message string) { r.settle(k, false, reason, message) }

// settle records the decision on iteration k.
func (r *runPlan) settle(k int32, accepted bool, reason, message string) {
	it := r.record(k)
	it.Decision = &v1alpha1.Decision{Accepted: ptr.To(accepted), Reason: reason, Message: clip(message, maxDecision)}
	it.CompletionTime = &r.Now
	r.status.Accuracy = accuracyAt(it.Evaluation, r.resolved.headline)
	if k == 1 {
		r.status.ForecastGPUSeconds = 0 // it was a guess
	}
	r.foresee()
	r.trim(k)
}

// tripped says which guard metric of a candidate got too much worse than the best one's; empty when none did.
func (r *runPlan) tripped(it *v1alpha1.IterationStatus) string {
	was, is := guards(r.best()), guards(it.Evaluation)
	var worse []string
	for _, g := range ptr.Deref(r.run.Spec.Acceptance, v1alpha1.AcceptanceSpec{}).GuardMetrics {
		before, measured := was[g.Name]
		after, again := is[g.Name]
		if !measured || !again {
			if measured { // nothing is left to measure it on
				worse = append(worse, fmt.Sprintf("guard metric %s was %s and cannot be measured any more", g.Name, before))
			}
			continue
		}
		drop := decimal(v1alpha1.Fraction(before)) - decimal(v1alpha1.Fraction(after))
		if lowerIsBetter[g.Name] {
			drop = -drop
		}
		if drop > decimal(v1alpha1.Fraction(g.MaxDrop))+epsilon {
			worse = append(worse, fmt.Sprintf("guard metric %s went from %s to %s, more than maxDrop %s for the worse", g.Name, before, after, g.MaxDrop))
		}
	}
	return strings.Join(worse, "; ")
}

// trackGuards are the guard metrics of the acceptance gate that only the tracker can measure.
func (r *runPlan) trackGuards() []v1alpha1.TrackGuardName {
	var names []v1alpha1.TrackGuardName
	for _, g := range ptr.Deref(r.run.Spec.Acceptance, v1alpha1.AcceptanceSpec{}).GuardMetrics {
		if slices.Contains(contract.TrackGuards, string(g.Name)) {
			names = append(names, v1alpha1.TrackGuardName(g.Name))
		}
	}
	return names
}

// lowerIsBetter of the guard metrics; the others are better when higher.
var lowerIsBetter = map[v1alpha1.GuardName]bool{"subjectJump": true, "objectDrift": true}

func guards(s *v1alpha1.ScoreSummary) map[v1alpha1.GuardName]string {
	values := map[v1alpha1.GuardName]string{}
	for _, g := range s.Guards {
		values[v1alpha1.GuardName(g.Name)] = g.Value
	}
	return values
}
