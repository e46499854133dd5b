package plan

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// takeOver copies from the run that spec.rerun names what it recorded before the stage to run again. Nothing of it is
// charged to this run, and the stages check every digest that they read.
func (r *runPlan) takeOver(snapshot *v1alpha1.RuntimeSnapshot) (waiting, wrong *failure) {
	spec := r.run.Spec.Rerun
	if spec == nil {
		return nil, nil
	}
	from := r.Rerun
	if from != nil && from.UID == r.run.UID {
		return nil, &failure{v1alpha1.ReasonInvalidSpec, "spec.rerun names this run itself; name the one to take over from"}
	}
	if from == nil {
		return &failure{v1alpha1.ReasonRerunNotFound, fmt.Sprintf("AlignmentRun %q does not exist; waiting for it", spec.RunName)}, nil
	}
	was := &runPlan{Base: r.Base, run: from, status: *from.Status.DeepCopy()}
	mend(&was.status)
	lacks := was.lacks(spec)
	switch {
	case was.status.Runtime != nil && r.differs(was, snapshot) != "":
		return nil, &failure{v1alpha1.ReasonInvalidSpec, fmt.Sprintf("%s differs from that of AlignmentRun %q, which spec.rerun names: what was measured would not be comparable",
			r.differs(was, snapshot), spec.RunName)}
	case lacks == "" && r.unguarded(was, spec) != "":
		return nil, &failure{v1alpha1.ReasonInvalidSpec, fmt.Sprintf("AlignmentRun %q, which spec.rerun names, did not measure guard metric %s of its best adapter: leave it out of spec.acceptance.guardMetrics",
			spec.RunName, r.unguarded(was, spec))}
	case r.scattered(was, spec):
		return nil, &failure{v1alpha1.ReasonInvalidSpec, fmt.Sprintf("spec.pairing.history is Cumulative, and AlignmentRun %q, which spec.rerun names, kept the pairs of each iteration apart (Latest): "+
			"those before iteration %d would be missing; set spec.pairing.history to Latest, or rerun iteration 1, or 2 from Sample or Pair", spec.RunName, inherited(spec))}
	case lacks != "" && Ended(was.status.Conditions) && !Writing(&was.status):
		return nil, &failure{v1alpha1.ReasonInvalidSpec, fmt.Sprintf("AlignmentRun %q, which spec.rerun names, has ended and has no %s", spec.RunName, lacks)}
	case lacks != "":
		return &failure{v1alpha1.ReasonRerunNotFound, fmt.Sprintf("AlignmentRun %q has no %s; waiting for it", spec.RunName, lacks)}, nil
	}
	r.copyFrom(was, spec)
	return nil, nil
}

// unguarded names a guard metric that the tracker of the run to take over from did not measure; empty for none.
func (r *runPlan) unguarded(was *runPlan, spec *v1alpha1.RerunSpec) string {
	measured := guards(was.measured(was.bestBefore(spec.Iteration), spec.Iteration-1))
	for _, name := range r.trackGuards() {
		if _, ok := measured[v1alpha1.GuardName(name)]; !ok {
			return string(name)
		}
	}
	return ""
}

// scattered says that this run would train on the pairs of all iterations, and the other one has no file of them: only the
// newest iteration's would go on.
func (r *runPlan) scattered(was *runPlan, spec *v1alpha1.RerunSpec) bool {
	apart := func(run *v1alpha1.AlignmentRun) bool {
		return run.Spec.Pairing != nil && run.Spec.Pairing.History == v1alpha1.HistoryLatest
	}
	return apart(was.run) && !apart(r.run) && inherited(spec) > 1
}

// inherited is the iteration whose pairs a rerun begins with, or puts its first ones behind.
func inherited(spec *v1alpha1.RerunSpec) int32 {
	if spec.Stage == v1alpha1.RerunTrain || spec.Stage == v1alpha1.RerunEvaluate {
		return spec.Iteration
	}
	return spec.Iteration - 1
}

// differs names what of this run would make its measurements another thing than those of the run it takes over; empty for none.
func (r *runPlan) differs(was *runPlan, snapshot *v1alpha1.RuntimeSnapshot) string {
	theirs, ours := was.run.Spec, r.run.Spec
	before, now := resolve(theirs, was.status.Runtime.Spec.Defaults), resolve(ours, snapshot.Spec.Defaults)
	for _, field := range []struct {
		name         string
		theirs, ours any
	}{
		{"spec.runtimeRef", theirs.RuntimeRef, ours.RuntimeRef},
		{"the store", was.status.Runtime.Spec.Store, snapshot.Spec.Store},
		{"spec.prompts", theirs.Prompts, ours.Prompts},
		{"spec.sampling", theirs.Sampling, ours.Sampling},
		{"spec.scoring", theirs.Scoring, ours.Scoring},
		{"spec.evaluation", theirs.Evaluation, ours.Evaluation},
		{"the runtime's model", was.status.Runtime.Spec.Model, snapshot.Spec.Model},
		{"the runtime's detector", was.status.Runtime.Spec.Detector, snapshot.Spec.Detector},
		{"the runtime's default of sampling", before.sampling, now.sampling},
		{"the runtime's default of evaluation.samplesPerPrompt", before.evaluationSamples, now.evaluationSamples},
	} {
		if !equality.Semantic.DeepEqual(field.theirs, field.ours) {
			return field.name
		}
	}
	return ""
}

// lacks names what a run has not recorded of that which a rerun of it needs; empty for nothing.
func (r *runPlan) lacks(spec *v1alpha1.RerunSpec) string {
	if base := r.record(0); base == nil || base.Evaluation == nil || r.status.Prompts == nil {
		return "evaluation of its baseline"
	}
	before := spec.Iteration - 1
	if it := r.record(before); before > 0 && (it == nil || it.Decision == nil || it.Comparison == nil) {
		return fmt.Sprintf("record of iteration %d", before)
	}
	for i := range r.status.Iterations {
		if it := &r.status.Iterations[i]; *it.Iteration < spec.Iteration && it.Decision != nil && it.Lineage == nil {
			return fmt.Sprintf("lineage of iteration %d", *it.Iteration)
		}
	}
	if best := r.bestBefore(spec.Iteration); r.record(best) == nil || r.record(best).Evaluation == nil {
		return fmt.Sprintf("record of iteration %d, the best one before iteration %d", best, spec.Iteration)
	}
	if spec.Stage != v1alpha1.RerunSample && partOf(r.record(spec.Iteration), spec.Stage) == nil {
		return fmt.Sprintf("record of what precedes %s of iteration %d", spec.Stage, spec.Iteration)
	}
	return ""
}

// bestBefore is the iteration whose adapter was best when iteration k began, as the decision before it tells.
func (r *runPlan) bestBefore(k int32) int32 {
	if k == 1 {
		return 0
	}
	if before := r.record(k - 1); !*before.Decision.Accepted {
		return *before.Comparison.Iteration
	}
	return k - 1
}

// copyFrom takes over the records of another run that lacks nothing.
func (r *runPlan) copyFrom(was *runPlan, spec *v1alpha1.RerunSpec) {
	var kept []v1alpha1.IterationStatus
	for _, it := range was.status.Iterations {
		if *it.Iteration < spec.Iteration {
			kept = append(kept, it)
		}
	}
	if spec.Stage != v1alpha1.RerunSample {
		kept = append(kept, *partOf(was.record(spec.Iteration), spec.Stage))
	}
	for i := range kept {
		it := &kept[i]
		it.GPUSeconds, it.WastedGPUSeconds, it.Stages, it.Approvals = 0, nil, nil, nil
		if it.Decision != nil && *it.Decision.Accepted && *it.Iteration > 0 {
			r.status.LastImprovedIteration = max(r.status.LastImprovedIteration, improved(it))
		}
	}
	for i := range was.status.Iterations {
		if it := &was.status.Iterations[i]; spec.Iteration > 1 && *it.Iteration > 0 {
			r.status.ForecastGPUSeconds = max(r.status.ForecastGPUSeconds, it.GPUSeconds)
		}
	}
	r.status.Prompts, r.status.InitialDataset, r.status.Iterations = was.status.Prompts, was.status.InitialDataset, kept
	best := was.record(was.bestBefore(spec.Iteration))
	r.status.Accuracy = accuracyAt(was.record(spec.Iteration-1).Evaluation, was.run.HeadlineThreshold())
	r.status.Best = &v1alpha1.BestAdapter{
		Iteration: best.Iteration, Accuracy: accuracyAt(was.measured(*best.Iteration, spec.Iteration-1), was.run.HeadlineThreshold()), Adapter: best.Adapter, Lineage: best.Lineage,
	}
}

// improved is the number of an accepted iteration that gained something; 0 for one that gained nothing.
func improved(it *v1alpha1.IterationStatus) int32 {
	if decimal(v1alpha1.Fraction(it.Comparison.Delta)) > epsilon {
		return *it.Iteration
	}
	return 0
}

// partOf is what an iteration recorded before a stage; nil when that is not there.
func partOf(it *v1alpha1.IterationStatus, stage v1alpha1.RerunStage) *v1alpha1.IterationStatus {
	if it == nil {
		return nil
	}
	part := &v1alpha1.IterationStatus{Iteration: it.Iteration, StartTime: it.StartTime, Samples: it.Samples}
	if stage == v1alpha1.RerunPair {
		if it.Samples == nil { // it began with pairs, or has not got so far
			return nil
		}
		return part // without the rounds: the new pairing decides on them
	}
	if part.Resampled, part.Pairs = it.Resampled, it.Pairs; it.Pairs == nil {
		return nil
	}
	if stage == v1alpha1.RerunEvaluate {
		if part.Adapter, part.Training = it.Adapter, it.Training; it.Adapter == nil {
			return nil
		}
	}
	return part
}
