package plan

import (
	"fmt"
	"slices"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// forecast of iteration k in GPU-seconds: what the dearest iteration so far took, also if status no longer has it. The first,
// with the baseline, is the user's guess.
func (r *runPlan) forecast(k int32) int64 {
	if b := r.run.Spec.Budget; k == 1 {
		if b == nil || b.FirstIterationGPUHours == "" {
			return 0
		}
		return gpuSeconds(b.FirstIterationGPUHours)
	}
	most := r.status.ForecastGPUSeconds
	for i := range r.status.Iterations {
		if it := &r.status.Iterations[i]; *it.Iteration > 0 && *it.Iteration < k {
			most = max(most, it.GPUSeconds)
		}
	}
	return most
}

// BudgetSeconds is a run's budget in GPU-seconds; 0 where it has none.
func BudgetSeconds(run *v1alpha1.AlignmentRun) int64 {
	if run.Spec.Budget == nil {
		return 0
	}
	return gpuSeconds(run.Spec.Budget.GPUHours)
}

// foresee says what the iteration after the last decision is expected to take, whatever was recorded before.
func (r *runPlan) foresee() { r.status.ForecastGPUSeconds = r.forecast(r.decided() + 1) }

// cannotPay says that iteration k must not start, because the budget does not hold its forecast.
func (r *runPlan) cannotPay(k int32) bool {
	b, forecast := r.run.Spec.Budget, r.forecast(k)
	if b == nil || r.status.GPUSeconds+forecast <= gpuSeconds(b.GPUHours) {
		return false
	}
	r.unpayable = fmt.Sprintf("iteration %d is expected to take %s GPU-hours, and %s of budget.gpuHours %s are spent",
		k, hours(forecast), hours(r.status.GPUSeconds), b.GPUHours)
	return true
}

// overspent says why the budget holds the run; empty when it does not. What needs no GPU may end.
func (r *runPlan) overspent() string {
	b := r.run.Spec.Budget
	switch {
	case b == nil:
		return ""
	case r.unpayable != "" && len(r.stages.active)+len(r.stages.waiting) == 0:
		return r.unpayable
	case r.status.GPUSeconds < gpuSeconds(b.GPUHours):
		return ""
	}
	if slices.ContainsFunc(r.stages.waiting, gpuStage) || slices.ContainsFunc(r.stages.active, onGPUs) {
		return fmt.Sprintf("%s GPU-hours are spent, budget.gpuHours is %s", hours(r.status.GPUSeconds), b.GPUHours)
	}
	return ""
}

// unpaid suspends the run until the budget is raised, or fails it. What needs no GPU may end before.
func (r *runPlan) unpaid(why string) Next[v1alpha1.AlignmentRunStatus] {
	free := slices.ContainsFunc(r.stages.active, func(c *Child) bool { return !onGPUs(c) }) ||
		slices.ContainsFunc(r.stages.waiting, func(at jobs.Place) bool { return !gpuStage(at) })
	then := "raise spec.budget.gpuHours to go on"
	if r.run.Spec.Budget.OnExceeded == v1alpha1.BudgetStop {
		if !free {
			return r.fail(&failure{v1alpha1.ReasonBudgetExceeded, why})
		}
		then = "the run fails when what needs no GPU has ended"
	}
	next := r.suspend(v1alpha1.ReasonBudgetExceeded, fmt.Sprintf("%s; %s; stages on GPUs are deleted", why, then))
	next.Create, next.Delete = r.stages.create, r.leftBehind(onGPUs)
	if free {
		next.RequeueAfter = r.Config.ProgressInterval
	}
	return next
}

// onGPUs says that a child's pods ask for GPUs.
func onGPUs(c *Child) bool { return gpuStage(c.Place) && !c.takesStored() }

// gpuStage says that a stage runs an image of the runtime.
func gpuStage(p jobs.Place) bool {
	switch p.Stage {
	case v1alpha1.StageSample, v1alpha1.StageScore, v1alpha1.StageTrain, v1alpha1.StageEvaluationSample, v1alpha1.StageEvaluationScore,
		v1alpha1.StageReevaluationSample, v1alpha1.StageReevaluationScore, v1alpha1.StageTestSample, v1alpha1.StageTestScore:
		return true
	default:
		return false
	}
}

func gpuSeconds(hours v1alpha1.Decimal) int64 { return int64(decimal(v1alpha1.Fraction(hours)) * 3600) }

func hours(seconds int64) string { return fmt.Sprintf("%.2f", float64(seconds)/3600) }
