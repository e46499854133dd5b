package plan

import (
	"fmt"

	"github.com/spatialalign/operator/api/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// takeOver copies from the run that spec.rerun names what it recorded before the stage to run again. Nothing of it is
// charged to this run, and the stages check every digest that they read.
func (r *runPlan) takeOver() (waiting, wrong *failure) {
	spec := r.run.Spec.Rerun
	if spec == nil {
		return nil, nil
	}
	from := r.Rerun
	if from == nil || from.UID == r.run.UID {
		return &failure{v1alpha1.ReasonRerunNotFound, fmt.Sprintf("AlignmentRun %q does not exist; waiting for it", spec.RunName)}, nil
	}
	theirs, ours := from.Spec, r.run.Spec
	for field, pair := range map[string][2]any{
		"prompts": {theirs.Prompts, ours.Prompts}, "sampling": {theirs.Sampling, ours.Sampling}, "evaluation": {theirs.Evaluation, ours.Evaluation},
		"runtimeRef": {theirs.RuntimeRef, ours.RuntimeRef}, "store": {theirs.Store, ours.Store},
	} {
		if !equality.Semantic.DeepEqual(pair[0], pair[1]) {
			return nil, &failure{v1alpha1.ReasonInvalidSpec, fmt.Sprintf("spec.%s differs from that of AlignmentRun %q, which spec.rerun names: what was measured would not be comparable", field, spec.RunName)}
		}
	}
	was := &runPlan{Base: r.Base, run: from, status: *from.Status.DeepCopy()}
	var kept []v1alpha1.IterationStatus
	for k := int32(0); k < spec.Iteration; k++ {
		it := was.record(k)
		if it == nil || it.Evaluation == nil || k > 0 && it.Decision == nil {
			return &failure{v1alpha1.ReasonRerunNotFound, fmt.Sprintf("AlignmentRun %q has no complete record of iteration %d; waiting for it", spec.RunName, k)}, nil
		}
		kept = append(kept, *it)
	}
	if it := was.record(spec.Iteration); spec.Stage != v1alpha1.RerunSample {
		part := partOf(it, spec.Stage)
		if part == nil {
			return &failure{v1alpha1.ReasonRerunNotFound, fmt.Sprintf("AlignmentRun %q has not recorded what precedes %s of iteration %d; waiting for it", spec.RunName, spec.Stage, spec.Iteration)}, nil
		}
		kept = append(kept, *part)
	}
	for i := range kept {
		kept[i].GPUSeconds, kept[i].Stages, kept[i].Approvals = 0, nil, nil
	}
	r.status.Prompts, r.status.Iterations = was.status.Prompts, kept
	for i := range kept {
		it := &kept[i]
		if it.Decision == nil && *it.Iteration > 0 {
			continue
		}
		r.status.Accuracy = accuracyAt(it.Evaluation, from.HeadlineThreshold())
		if *it.Iteration == 0 || *it.Decision.Accepted {
			if r.status.Best != nil && decimal(r.status.Accuracy) > decimal(r.status.Best.Accuracy)+epsilon {
				r.status.LastImprovedIteration = *it.Iteration
			}
			r.status.Best = &v1alpha1.BestAdapter{Iteration: it.Iteration, Accuracy: r.status.Accuracy, Adapter: it.Adapter, Lineage: it.Lineage}
		}
	}
	return nil, nil
}

// partOf is what an iteration recorded before a stage; nil when that is not there.
func partOf(it *v1alpha1.IterationStatus, stage v1alpha1.RerunStage) *v1alpha1.IterationStatus {
	if it == nil || it.Samples == nil {
		return nil
	}
	part := &v1alpha1.IterationStatus{Iteration: it.Iteration, StartTime: it.StartTime, Samples: it.Samples, Resampled: it.Resampled}
	if stage == v1alpha1.RerunPair {
		part.Resampled = nil // the new pairing decides on rounds
		return part
	}
	if part.Pairs = it.Pairs; it.Pairs == nil {
		return nil
	}
	if stage == v1alpha1.RerunEvaluate {
		if part.Adapter, part.Training = it.Adapter, it.Training; it.Adapter == nil {
			return nil
		}
	}
	return part
}
