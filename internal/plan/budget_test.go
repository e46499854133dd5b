package plan

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/spatialalign/operator/api/v1alpha1"
)

func budget(hours, first v1alpha1.Decimal) func(*v1alpha1.AlignmentRunSpec) {
	return func(s *v1alpha1.AlignmentRunSpec) {
		s.Iterations, s.Budget = 2, &v1alpha1.BudgetSpec{GPUHours: hours, FirstIterationGPUHours: first, OnExceeded: v1alpha1.BudgetSuspend}
	}
}

// raise allows more GPU-hours.
func (w *world) raise(hours v1alpha1.Decimal) {
	w.remark("budget.gpuHours: %s", hours)
	w.run.Spec.Budget.GPUHours = hours
}

// TestBudget plays runs that cost more than they may.
func TestBudget(t *testing.T) {
	stop := func(hours v1alpha1.Decimal) func(*v1alpha1.AlignmentRunSpec) {
		return func(s *v1alpha1.AlignmentRunSpec) {
			budget(hours, "")(s)
			s.Budget.OnExceeded = v1alpha1.BudgetStop
		}
	}
	expensiveTraining := func(w *world) {
		w.until(1, v1alpha1.StageTrain)
		w.remark("training takes two hours")
		w.pass(7200)
	}
	playTraces(t, []trace{
		{name: "budget-suffices", script: rising, edit: budget("10", "1")},
		{name: "budget-of-the-first-iteration-does-not-suffice", script: rising, edit: budget("10", "10.5"), play: func(w *world) {
			w.step()
			w.raise("11")
			w.settle()
		}},
		{name: "budget-next-iteration-is-not-started", script: rising, edit: budget("3.5", ""), play: func(w *world) {
			expensiveTraining(w)
			w.held()
			w.steps(3)
			w.raise("5")
			w.settle()
		}},
		{name: "budget-spent-mid-stage", script: rising, edit: budget("1.5", ""), play: func(w *world) {
			expensiveTraining(w)
			w.steps(3)
			w.raise("9")
			w.settle()
		}},
		{name: "budget-spent-raised-too-little", script: rising, edit: budget("1.5", ""), play: func(w *world) {
			expensiveTraining(w)
			w.step()
			w.raise("1.8")
			w.steps(2)
			w.raise("2.5")
			w.steps(2)
			w.pass(3600)
			w.steps(2)
		}},
		{name: "budget-stop-mid-stage", script: rising, edit: stop("1.5"), play: func(w *world) {
			expensiveTraining(w)
			w.step()
		}},
		{name: "budget-stop-before-the-next-iteration", script: rising, edit: stop("3.5"), play: func(w *world) {
			expensiveTraining(w)
			w.settle()
		}},
		{name: "budget-spent-when-a-result-comes", script: rising, edit: stop("1.5"), play: func(w *world) {
			w.until(1, v1alpha1.StageSample)
			w.remark("sampling takes two hours; the baseline is scored meanwhile")
			w.succeed(w.child(v1alpha1.StageEvaluationSample))
			w.step()
			w.succeed(w.child(v1alpha1.StageEvaluationScore))
			w.pass(7200)
			w.step()
		}},
	})
}

// TestForecast: the first iteration's is the user's guess, the others' what the dearest one took.
func TestForecast(t *testing.T) {
	w := newWorld(t, rising)
	budget("10", "0.5")(&w.run.Spec)
	w.run.Spec.Iterations = 3
	w.step()
	if got := w.run.Status.ForecastGPUSeconds; got != 1800 {
		t.Errorf("the first iteration is expected to take %d GPU-seconds", got)
	}
	w.until(1, v1alpha1.StageTrain)
	w.pass(5000)
	w.until(2, v1alpha1.StageTrain)
	dearest := w.run.Status.Iterations[1].GPUSeconds
	w.pass(100)
	w.until(3, v1alpha1.StageTrain)
	if got := w.run.Status.ForecastGPUSeconds; got != dearest || got < 5000 {
		t.Errorf("the third iteration is expected to take %d GPU-seconds, not %d as the first", got, dearest)
	}
}

// The forecast knows of the dearest iteration also when status no longer has it.
func TestForecastOutlivesTheRecord(t *testing.T) {
	w := newWorld(t, rising)
	w.run.Spec.Iterations = 80
	w.until(1, v1alpha1.StageTrain)
	w.pass(7200)
	w.until(70, v1alpha1.StageTrain)
	if got := w.run.Status; got.ForecastGPUSeconds < 7200 || *got.Iterations[1].Iteration == 1 {
		t.Errorf("forecast %d, the oldest record is of iteration %d", got.ForecastGPUSeconds, *got.Iterations[1].Iteration)
	}
}

// TestBudgetSuspensionKeepsItsResults: what ends in the pass that spends the budget is recorded, and bought once.
func TestBudgetSuspensionKeepsItsResults(t *testing.T) {
	w := newWorld(t, rising)
	budget("1.5", "")(&w.run.Spec)
	w.until(1, v1alpha1.StageSample)
	w.pass(7200)
	w.succeed(w.child(v1alpha1.StageEvaluationSample))
	w.step()
	if w.run.Status.Phase != v1alpha1.PhaseSuspended || !succeeded(stageRecord(w.run.Status.Iterations[0].Stages, v1alpha1.StageEvaluationSample, 0)) {
		t.Fatalf("phase %s, stages %+v", w.run.Status.Phase, w.run.Status.Iterations[0].Stages)
	}
	w.raise("99")
	w.settle() // the laws hold that nothing recorded is repeated
}

// What needs no GPU goes on although the budget is spent: the best adapter gets its lineage and its model card.
func TestBudgetLetsTheLineageEnd(t *testing.T) {
	for _, policy := range []v1alpha1.BudgetPolicy{v1alpha1.BudgetSuspend, v1alpha1.BudgetStop} {
		w := newWorld(t, rising)
		w.run.Spec.Budget = &v1alpha1.BudgetSpec{GPUHours: "1", OnExceeded: policy}
		for w.step(); len(w.run.Status.Iterations) < 3 || !slices.Contains(w.stagesActive(), v1alpha1.StageSample); w.step() {
			w.succeedBut(v1alpha1.StageLineage)
		}
		w.pass(3600)
		w.step()
		if got := w.stagesActive(); w.run.Status.Phase != v1alpha1.PhaseSuspended || len(got) != 1 || got[0] != v1alpha1.StageLineage {
			t.Errorf("%s: phase %s, %v run", policy, w.run.Status.Phase, got)
		}
		w.succeed(w.child(v1alpha1.StageLineage))
		w.step()
		if best := w.run.Status.Best; best.Lineage == nil || best.ModelCard == nil {
			t.Errorf("%s: the best adapter is without lineage: %+v", policy, best)
		}
		if failed := w.run.Status.Phase == v1alpha1.PhaseFailed; failed != (policy == v1alpha1.BudgetStop) {
			t.Errorf("%s: phase %s in the end", policy, w.run.Status.Phase)
		}
	}
}

// An answer counts also while the budget holds the run: nothing asks any longer, and a denial ends it.
func TestApprovalWhileTheBudgetIsSpent(t *testing.T) {
	for _, decision := range []v1alpha1.ApprovalDecision{v1alpha1.DecisionApprove, v1alpha1.DecisionDeny} {
		w := newWorld(t, rising)
		approval(v1alpha1.GatePair)(&w.run.Spec)
		w.run.Spec.Budget = &v1alpha1.BudgetSpec{GPUHours: "100", OnExceeded: v1alpha1.BudgetSuspend}
		w.until(1, v1alpha1.StageSample)
		w.pass(3600)
		w.asked()
		w.run.Spec.Budget.GPUHours = "1"
		w.answer("late", decision)
		w.steps(2)
		if decision == v1alpha1.DecisionDeny {
			w.succeed(w.child(v1alpha1.StageLineage))
			w.step()
		}
		s := w.run.Status
		if s.PendingApproval != nil || meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionAwaitingApproval) {
			t.Errorf("%s: the run still asks", decision)
		}
		if Ended(s.Conditions) != (decision == v1alpha1.DecisionDeny) {
			t.Errorf("%s: phase %s", decision, s.Phase)
		}
	}
}
