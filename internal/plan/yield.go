package plan

import (
	"fmt"

	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// pairs samples, scores and pairs the training prompts of iteration k, in as many rounds as its yield gate asks for. ready
// says that there are enough pairs to train on.
func (r *runPlan) pairs(k int32) (ready bool, end *ending) {
	if k == 1 && r.status.InitialDataset != nil {
		it := r.iterationRecord(k)
		it.Pairs = r.status.InitialDataset
		if short := r.shortfall(it.Pairs); short != "" {
			return false, &ending{v1alpha1.ReasonInsufficientPairs, "initialDataset: " + short, true}
		}
		return true, nil
	}
	for round := r.round(k); ; round++ {
		if !r.sampled(k, round) {
			return false, nil
		}
		verdict, end := r.yield(k, round)
		if verdict != resample {
			return verdict == sufficient, end
		}
	}
}

// round is the newest round of iteration k with a record.
func (r *runPlan) round(k int32) int32 {
	newest := int32(0)
	if it := r.record(k); it != nil && it.Samples != nil {
		for i := range it.Stages {
			newest = max(newest, ptr.Deref(it.Stages[i].Round, 0))
		}
	}
	return newest
}

// sampled moves one round on, up to its pairs.
func (r *runPlan) sampled(k, round int32) bool {
	if it := r.record(k); it != nil && it.Pairs != nil && round == 0 && stageRecord(it.Stages, v1alpha1.StagePair, 0) == nil {
		return true // taken over from another run
	}
	at := func(stage v1alpha1.StageName) jobs.Place { return jobs.Place{Iteration: k, Round: round, Stage: stage} }
	if !r.scored(k, round) {
		listed := k == 1 && round == 0 && output(r.stage(0, v1alpha1.StagePrepare, 0), "index/"+setTrain).Key != ""
		if !listed && !r.prepared(at(v1alpha1.StagePrepare), r.prepareTraining, setTrain, v1alpha1.StageSample) {
			return false
		}
		if done, _ := r.step(at(v1alpha1.StageSample), r.sampleTraining); !done {
			return false
		}
		done, child := r.step(at(v1alpha1.StageScore), r.scoreTraining)
		if child != nil && round == 0 {
			r.record(k).Samples = child.Batch.Status.Summary
		} else if child != nil {
			it := r.record(k)
			it.Resampled = append(it.Resampled, v1alpha1.ResampledRound{Round: round, Samples: *child.Batch.Status.Summary})
		}
		if !done {
			return false
		}
	}
	done, child := r.step(at(v1alpha1.StagePair), r.pair)
	if child != nil {
		r.record(k).Pairs = child.Dataset.Status.Summary
	}
	return done
}

// scored says that the scores of a round are recorded.
func (r *runPlan) scored(k, round int32) bool {
	it := r.record(k)
	return it != nil && (round == 0 && it.Samples != nil || int(round) <= len(it.Resampled) && round > 0)
}

// verdict of the yield gate.
type verdict int

const (
	sufficient verdict = iota
	resample
	ends
)

// yield is the gate before training: whether iteration k has enough pairs after a round, wants another, or ends the run.
func (r *runPlan) yield(k, round int32) (verdict, *ending) {
	it := r.record(k)
	policy := ptr.Deref(r.run.Spec.Pairing, v1alpha1.RunPairingSpec{})
	again := policy.OnShortfall == v1alpha1.ShortfallResample && round < policy.MaxResampleRounds
	short := r.shortfall(it.Pairs)
	if it.Samples == nil {
		if short != "" {
			return ends, &ending{v1alpha1.ReasonInsufficientPairs, fmt.Sprintf("iteration %d: %s", k, short), true}
		}
		return sufficient, nil
	}
	total := *it.Samples.Total
	for _, more := range it.Resampled {
		total += *more.Samples.Total
	}
	winners, losers, invalid := *it.Pairs.Winners, *it.Pairs.Losers, *it.Pairs.Invalid
	counts := fmt.Sprintf("iteration %d: %d winners, %d losers, %d invalid or missing", k, winners, losers, invalid)
	switch {
	case winners > invalid && winners+invalid == total: // what is mostly invalid has not converged
		return ends, &ending{v1alpha1.ReasonConverged, "every valid sample wins; " + counts, false}
	case losers+invalid == total && !again:
		return ends, &ending{v1alpha1.ReasonCollapsed, "every sample loses or is invalid; " + counts, true}
	case short == "" && losers+invalid < total:
		return sufficient, nil
	case again:
		return resample, nil
	default:
		good := policy.OnShortfall == v1alpha1.ShortfallStop
		return ends, &ending{v1alpha1.ReasonInsufficientPairs, short + "; " + counts + "; more samplesPerPrompt may help", !good}
	}
}

// shortfall says what is missing of the pairs that pairing asks for; empty when nothing is.
func (r *runPlan) shortfall(p *v1alpha1.PairSummary) string {
	policy := ptr.Deref(r.run.Spec.Pairing, v1alpha1.RunPairingSpec{})
	least := max(policy.MinPairs, 1)
	coverage := float64(*p.UsablePrompts) / float64(max(r.status.Prompts.Train.Count, 1))
	switch {
	case *p.Pairs == 0:
		return "no prompt has both a winner and a loser"
	case *p.Pairs < least:
		return fmt.Sprintf("%d pairs are fewer than pairing.minPairs, %d", *p.Pairs, least)
	case coverage+epsilon < decimal(policy.MinPromptCoverage):
		return fmt.Sprintf("%d of %d prompts have pairs, less than pairing.minPromptCoverage, %s", *p.UsablePrompts, r.status.Prompts.Train.Count, policy.MinPromptCoverage)
	default:
		return ""
	}
}
