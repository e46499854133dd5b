package plan

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// A run whose stage failed, whose deadline passed or whose budget is spent ends at once, whatever it was in the middle of. What the
// iteration had made is recorded after that, by a stage Lineage that the end leaves running: docs/adr/0020.

// lineageGrace is how long after the end of a run its last lineages may take.
const lineageGrace = 30 * time.Minute

// openLineages begins the records that a bad end leaves unwritten: of iterations that were decided, and of the one that it comes in
// the middle of. Those that are being written go on.
func (r *runPlan) openLineages() {
	for i := range r.status.Iterations {
		it := &r.status.Iterations[i]
		at := jobs.Place{Iteration: *it.Iteration, Stage: v1alpha1.StageLineage}
		if it.Lineage == nil && r.worthRecording(it) && stageRecord(it.Stages, at.Stage, at.Round) == nil {
			it.Stages = append(it.Stages, newRecord(at, nil, r.Now))
		}
	}
}

// worthRecording says that an iteration made something beyond single samples. What the baseline was made of stands in iteration 1's record.
func (r *runPlan) worthRecording(it *v1alpha1.IterationStatus) bool {
	return *it.Iteration > 0 && r.status.Prompts != nil &&
		(it.Samples != nil || it.Pairs != nil || it.Adapter != nil || succeeded(stageRecord(it.Stages, v1alpha1.StageSample, 0)))
}

// lateLineages writes the records that the end of the run left open, one after the other: each names the one before. Nothing
// starts of what is held.
func (r *runPlan) lateLineages(held func(jobs.Place) bool) {
	r.stages = r.beginning(held)
	if r.status.Runtime == nil || r.status.Prompts == nil || r.Leaving {
		return
	}
	if r.withheld = r.policyHolds(); r.withheld != nil {
		r.stages.held = everyStage
	}
	r.resolved = resolve(r.run.Spec, r.status.Runtime.Spec.Defaults)
	for i := range r.status.Iterations {
		it := &r.status.Iterations[i]
		k := *it.Iteration
		rec := stageRecord(it.Stages, v1alpha1.StageLineage, 0)
		if rec == nil || rec.State != v1alpha1.StageRunning || k == 0 || k > 1 && r.status.Best == nil {
			continue
		}
		if r.status.CompletionTime == nil || r.Now.Sub(r.status.CompletionTime.Time) >= lineageGrace {
			rec.State, rec.CompletionTime, rec.StuckSince = v1alpha1.StageFailed, &r.Now, nil
			rec.Message = clip(fmt.Sprintf("not written within %d minutes after the end of the run; %s", int(lineageGrace.Minutes()), rec.Message), maxStageMessage)
			continue
		}
		_, child := r.step(jobs.Place{Iteration: k, Stage: v1alpha1.StageLineage}, func(p jobs.Place) Object { return r.lineageJob(p, r.verdict(it)) })
		if child != nil {
			r.recorded(k, child)
		} else if rec.State == v1alpha1.StageRunning {
			return
		}
	}
}

// writing says that a lineage of a run that has ended is being written, or waits to be.
func (r *runPlan) writing() bool { return len(r.stages.active)+len(r.stages.waiting) > 0 }

// Writing says that a run which has ended still has lineages to write.
func Writing(s *v1alpha1.AlignmentRunStatus) bool {
	return slices.ContainsFunc(s.Iterations, func(it v1alpha1.IterationStatus) bool {
		rec := stageRecord(it.Stages, v1alpha1.StageLineage, 0)
		return rec != nil && rec.State == v1alpha1.StageRunning
	})
}

// verdict on an iteration of a run that has ended: what was decided, or that nothing was.
func (r *runPlan) verdict(it *v1alpha1.IterationStatus) *v1alpha1.Decision {
	if it.Decision != nil {
		return it.Decision
	}
	why := "without a reason"
	if c := meta.FindStatusCondition(r.status.Conditions, v1alpha1.ConditionFailed); c != nil {
		why = c.Reason + ": " + c.Message
	}
	return undecided(why)
}

func undecided(why string) *v1alpha1.Decision {
	return &v1alpha1.Decision{Accepted: ptr.To(false), Message: "The run ended with " + why}
}

func (r *runPlan) lineageJob(p jobs.Place, decision *v1alpha1.Decision) Object {
	return r.job(p, contract.Spec{Stage: contract.Lineage, Lineage: &contract.LineageSpec{Record: r.lineage(p.Iteration, decision)}})
}

// recorded takes the lineage of iteration k into status.
func (r *runPlan) recorded(k int32, child *Child) {
	it := r.record(k)
	it.Lineage = reference(child.Outcome.Outputs["lineage"])
	if best := r.status.Best; best != nil && *best.Iteration == k {
		best.Lineage, best.ModelCard = it.Lineage, reference(child.Outcome.Outputs["modelCard"])
	}
	trimStages(it)
}
