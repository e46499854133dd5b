package plan

import (
	"slices"
	"time"

	"github.com/spatialalign/operator/api/v1alpha1"
)

const (
	// keptIterations is how many of the newest iterations status keeps, beside the baseline and the best one: enough for a
	// curve, and far from what the API server stores.
	keptIterations = 32
	// keptStages is how many of them keep the records of their stages.
	keptStages = 8
)

// trim drops the outputs that only stages up to iteration k read, and what is older than status keeps. Nothing goes before
// its lineage is in the store, nor what a lineage that is not there yet refers to.
func (r *runPlan) trim(k int32) {
	best := *r.status.Best.Iteration
	wanted := map[int32]bool{0: true, best: true, r.reevaluatedIn(best, k): true}
	for i := range r.status.Iterations {
		it := &r.status.Iterations[i]
		if it.Lineage == nil && it.Comparison != nil {
			with := *it.Comparison.Iteration
			wanted[with], wanted[r.reevaluatedIn(with, *it.Iteration)], wanted[*it.Iteration-1] = true, true, true
		}
		if *it.Iteration <= k {
			trimStages(it)
			if it.Lineage != nil && *it.Iteration <= k-keptStages && !slices.ContainsFunc(it.Stages, open) {
				it.Stages = nil
			}
		}
	}
	r.status.Iterations = slices.DeleteFunc(r.status.Iterations, func(it v1alpha1.IterationStatus) bool {
		return !wanted[*it.Iteration] && *it.Iteration <= k-keptIterations && it.Lineage != nil
	})
}

// trimStages drops what nobody reads of the stages and rounds of an iteration that is over.
func trimStages(it *v1alpha1.IterationStatus) {
	for i := range it.Stages {
		it.Stages[i].Outputs = nil
		if it.Lineage != nil {
			it.Stages[i].Image, it.Stages[i].TrackImage = "", ""
		}
	}
	for i := range it.Resampled {
		it.Resampled[i].Samples.Accuracy, it.Resampled[i].Samples.Guards = nil, nil
	}
}

// open says that a stage runs, or that a pod of it holds GPUs.
func open(rec v1alpha1.StageStatus) bool {
	return rec.State == v1alpha1.StageRunning || holdsGPUs(&rec)
}

// ended is the plan of a run whose end is recorded. That is sticky: what was still active when the run ended is deleted, what
// it holds of GPUs until it is gone is counted, its last lineages are written, and then ttlSecondsAfterFinished clears up.
func (r *runPlan) ended() Next[v1alpha1.AlignmentRunStatus] {
	r.lateLineages(nil)
	next := Next[v1alpha1.AlignmentRunStatus]{
		Status: r.status, Create: r.stages.create, Delete: r.leftBehind(none), WantsRoom: r.writing(), Waiting: r.stages.space.waiting, Deferrable: r.onlyUsage(),
	}
	if r.usesGPUs() || r.writing() {
		next.RequeueAfter = r.Config.ProgressInterval
	}
	if r.writing() {
		return next
	}
	spec, finished := r.run.Spec, r.status.CompletionTime
	applies := spec.Cleanup == v1alpha1.CleanupAlways || spec.Cleanup == v1alpha1.CleanupOnSuccess && r.status.Phase == v1alpha1.PhaseSucceeded
	if spec.TTLSecondsAfterFinished == nil || !applies || finished == nil || len(r.Children) == 0 && spec.TTLTarget != v1alpha1.TTLRun {
		return next
	}
	left := finished.Add(time.Duration(*spec.TTLSecondsAfterFinished) * time.Second).Sub(r.Now.Time)
	switch {
	case left > 0 && (next.RequeueAfter == 0 || left < next.RequeueAfter):
		next.RequeueAfter = left
	case left > 0:
	case spec.TTLTarget == v1alpha1.TTLRun:
		next.Delete = []Object{r.run}
	default:
		next.Delete = nil
		for i := range r.Children {
			if c := &r.Children[i]; !c.Deleting {
				next.Delete = append(next.Delete, c.Object)
			}
		}
	}
	return next
}
