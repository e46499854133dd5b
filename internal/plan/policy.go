package plan

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// A runtime's policy (who may use it, and how much of it) counts as it is now, not as it was when an object was accepted.
// Admission says the same of what users write, where config/policy is installed.

// notAllowed says that a runtime does not list a namespace.
func notAllowed(runtime *v1alpha1.AlignmentRuntime, namespace string) *failure {
	if list := runtime.Spec.AllowedNamespaces; slices.Contains(list, "*") || slices.Contains(list, namespace) {
		return nil
	}
	return &failure{v1alpha1.ReasonNamespaceNotAllowed,
		fmt.Sprintf("AlignmentRuntime %q does not list namespace %q in allowedNamespaces; waiting until a cluster admin adds it", runtime.Name, namespace)}
}

// exceeds says which limit of the runtime a run does not keep, or what it asks for that no limit would count; nil when it keeps
// all. Its pods are made as taken says.
func exceeds(run *v1alpha1.AlignmentRunSpec, runtime *v1alpha1.AlignmentRuntime, taken *v1alpha1.AlignmentRuntimeSpec) *failure {
	limits := ptr.Deref(runtime.Spec.Limits, v1alpha1.RuntimeLimits{})
	if limits.Iterations > 0 && run.Iterations > limits.Iterations {
		return over(runtime, fmt.Sprintf("spec.iterations is %d", run.Iterations), "iterations", limits.Iterations)
	}
	if most := limits.GPUHours; most != "" {
		switch b := run.Budget; {
		case b == nil:
			return over(runtime, "spec.budget is missing", "gpuHours", most)
		case decimal(v1alpha1.Fraction(b.GPUHours)) > decimal(v1alpha1.Fraction(most)):
			return over(runtime, fmt.Sprintf("spec.budget.gpuHours is %s", b.GPUHours), "gpuHours", most)
		}
	}
	training := ptr.Deref(run.Training, v1alpha1.TrainingSpec{})
	if limits.Nodes > 0 && training.Nodes > limits.Nodes {
		return over(runtime, fmt.Sprintf("spec.training.nodes is %d", training.Nodes), "nodes", limits.Nodes)
	}
	for _, stage := range []contract.Stage{contract.Sample, contract.Track, contract.Train} {
		w := jobs.Work{
			Spec: contract.Spec{Stage: stage}, Runtime: taken, Scheduling: run.Scheduling, Nodes: training.Nodes, GPUsPerNode: training.GPUsPerNode,
		}
		if name, found := jobs.Foreign(w); found {
			return &failure{v1alpha1.ReasonLimitExceeded, fmt.Sprintf("spec.scheduling.%s.resources asks for %s, which AlignmentRuntime %q neither counts "+
				"as GPUs nor asks for in its %s.resources; waiting until it is left out", stage, name, runtime.Name, stage)}
		}
		if f := tooManyGPUs(w, runtime); f != nil {
			return f
		}
	}
	return nil
}

// tooManyGPUs says that the pods of a stage would hold more GPUs at a time than the runtime allows.
func tooManyGPUs(w jobs.Work, runtime *v1alpha1.AlignmentRuntime) *failure {
	most := ptr.Deref(runtime.Spec.Limits, v1alpha1.RuntimeLimits{}).GPUsPerStage
	if gpus := jobs.MostGPUs(w); most > 0 && gpus > int64(most) {
		return over(runtime, fmt.Sprintf("the pods of stage %s would hold %d GPUs at a time", w.Spec.Stage, gpus), "gpusPerStage", most)
	}
	return nil
}

func over(runtime *v1alpha1.AlignmentRuntime, what, limit string, most any) *failure {
	return &failure{v1alpha1.ReasonLimitExceeded, fmt.Sprintf("%s, and limits.%s of AlignmentRuntime %q is %v; waiting until one of them is changed",
		what, limit, runtime.Name, most)}
}

// policyHolds says why a run that was accepted may start nothing new. A runtime that was deleted says nothing any more: its
// snapshot outlives it.
func (r *runPlan) policyHolds() *failure {
	if r.Runtime == nil {
		return nil
	}
	if f := notAllowed(r.Runtime, r.run.Namespace); f != nil {
		return f
	}
	return exceeds(&r.run.Spec, r.Runtime, &r.status.Runtime.Spec)
}

// withhold lets what runs end, and starts nothing until the policy allows it.
func (r *runPlan) withhold(end *ending) Next[v1alpha1.AlignmentRunStatus] {
	r.pending()
	if r.stages.failed != nil {
		return r.fail(r.stages.failed)
	}
	if end == nil {
		end = r.deadline()
	}
	if end != nil {
		return r.end(end)
	}
	r.quota()
	r.status.Phase, r.status.Progress = v1alpha1.PhaseSuspended, nil
	if len(r.stages.active) > 0 {
		r.status.Progress = progress(r.Now, r.stages.active, r.was.Progress)
	}
	r.cond.set(v1alpha1.ConditionSuspended, metav1.ConditionTrue, r.withheld.reason, r.withheld.message+"; stages that run end, and no other starts")
	r.cond.set(v1alpha1.ConditionReconciling, metav1.ConditionFalse, r.withheld.reason, "suspended")
	next := Next[v1alpha1.AlignmentRunStatus]{
		Status: r.status, Delete: r.leftBehind(none), Resize: r.stages.space.resize, WantsRoom: r.stages.space.wanting, Waiting: r.stages.space.waiting,
		RequeueAfter: r.requeue(), Deferrable: r.deferrable(),
	}
	known := meta.IsStatusConditionTrue(r.run.Status.Conditions, v1alpha1.ConditionSuspended)
	if known && r.until.IsZero() && len(r.stages.active)+len(next.Delete) == 0 && !r.usesGPUs() {
		next.RequeueAfter = 0 // the runtime is watched
	}
	return next
}

// everyStage holds.
func everyStage(jobs.Place) bool { return true }

// withdrawn says that an object without a run above it may no longer use its runtime; a run sees to its own children.
func (b *Base) withdrawn(parent *Parent, namespace string) *failure {
	if parent != nil || b.Runtime == nil {
		return nil
	}
	return notAllowed(b.Runtime, namespace)
}

// withheld says why a batch without a run above it may start nothing.
func (p *batchPlan) withheld() *failure {
	if f := p.withdrawn(p.parent, p.batch.Namespace); f != nil || p.parent != nil || p.Runtime == nil {
		return f
	}
	return batchExceeds(p.batch, p.Runtime, &p.status.Runtime.Spec)
}

// batchExceeds says which limit of the runtime a batch without a run above it does not keep. It has no iterations, no training and
// no budget: what can be too much is its tracking, with the pods that taken says.
func batchExceeds(batch *v1alpha1.ScoringBatch, runtime *v1alpha1.AlignmentRuntime, taken *v1alpha1.AlignmentRuntimeSpec) *failure {
	if batch.Spec.Tracking == v1alpha1.TrackingStored {
		return nil
	}
	return tooManyGPUs(jobs.Work{Spec: contract.Spec{Stage: contract.Track}, Runtime: taken}, runtime)
}

// allow sets how the object of the stages stands: withheld is why none of them may start, nil where they may.
func (s *stages) allow(cond conditions, withheld *failure) {
	if withheld == nil {
		cond.run()
		return
	}
	s.held = everyStage
	cond.wait(withheld)
}
