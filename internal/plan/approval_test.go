package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

func approval(gates ...v1alpha1.ApprovalGate) func(*v1alpha1.AlignmentRunSpec) {
	return func(s *v1alpha1.AlignmentRunSpec) {
		s.Iterations, s.Approval = 1, &v1alpha1.ApprovalSpec{After: gates}
	}
}

// answer creates an AlignmentApproval of what the run asks.
func (w *world) answer(name string, decision v1alpha1.ApprovalDecision, edits ...func(*v1alpha1.AlignmentApprovalSpec)) {
	w.t.Helper()
	p := w.run.Status.PendingApproval
	if p == nil {
		w.t.Fatalf("nothing is asked:\n%s", w.trace.String())
	}
	a := v1alpha1.AlignmentApproval{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.AlignmentApprovalSpec{
			RunName: w.run.Name, RunUID: string(w.run.UID), Iteration: p.Iteration, Gate: p.Gate, Digest: p.Digest, Decision: decision,
		},
	}
	for _, edit := range edits {
		edit(&a.Spec)
	}
	w.related.Approvals = append(w.related.Approvals, a)
	w.remark("AlignmentApproval %s: %s", name, decision)
}

// TestApproval plays gates at which a person is asked. Nothing runs meanwhile.
func TestApproval(t *testing.T) {
	timeout := func(gate v1alpha1.ApprovalGate) func(*v1alpha1.AlignmentRunSpec) {
		return func(s *v1alpha1.AlignmentRunSpec) {
			approval(gate)(s)
			s.Approval.TimeoutSeconds = 3600
		}
	}
	playTraces(t, []trace{
		{name: "approval-of-both-gates", script: rising, edit: approval(v1alpha1.GatePair, v1alpha1.GateEvaluate), play: func(w *world) {
			w.asked()
			w.steps(3)
			w.answer("looks-good", v1alpha1.DecisionApprove)
			w.asked()
			w.answer("ship-it", v1alpha1.DecisionApprove)
			w.settle()
		}},
		{name: "approval-of-pairs-denied", script: rising, edit: approval(v1alpha1.GatePair), play: func(w *world) {
			w.asked()
			w.answer("no", v1alpha1.DecisionDeny)
			w.settle()
		}},
		{name: "approval-of-an-adapter-denied", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			approval(v1alpha1.GateEvaluate)(s)
			s.Iterations = 2
		}, play: func(w *world) {
			w.asked()
			w.answer("watch-the-videos", v1alpha1.DecisionDeny)
			w.asked()
			w.answer("better", v1alpha1.DecisionApprove)
			w.settle()
		}},
		{name: "approval-of-something-else-is-no-answer", script: rising, edit: approval(v1alpha1.GatePair), play: func(w *world) {
			w.asked()
			w.answer("of-another-run", v1alpha1.DecisionApprove, func(a *v1alpha1.AlignmentApprovalSpec) { a.RunName = "second-run" })
			w.answer("of-a-namesake-before", v1alpha1.DecisionApprove, func(a *v1alpha1.AlignmentApprovalSpec) { a.RunUID = "0000-old" })
			w.answer("of-another-iteration", v1alpha1.DecisionApprove, func(a *v1alpha1.AlignmentApprovalSpec) { a.Iteration = 2 })
			w.answer("of-the-other-gate", v1alpha1.DecisionApprove, func(a *v1alpha1.AlignmentApprovalSpec) { a.Gate = v1alpha1.GateEvaluate })
			w.answer("of-other-pairs", v1alpha1.DecisionApprove, func(a *v1alpha1.AlignmentApprovalSpec) { a.Digest = "sha256:other" })
			w.steps(3)
			w.answer("first", v1alpha1.DecisionApprove)
			w.answer("second-thoughts-come-too-late", v1alpha1.DecisionDeny)
			w.settle()
		}},
		{name: "approval-timed-out", script: rising, edit: timeout(v1alpha1.GatePair), play: func(w *world) {
			w.asked()
			w.pass(3598)
			w.step()
			w.step()
		}},
		{name: "approval-of-an-adapter-timed-out", script: rising, edit: timeout(v1alpha1.GateEvaluate), play: func(w *world) {
			w.asked()
			w.pass(3600)
			w.step()
		}},
		{name: "approval-while-suspended", script: rising, edit: timeout(v1alpha1.GatePair), play: func(w *world) {
			w.asked()
			w.run.Spec.Suspend = ptr.To(true)
			w.step()
			w.answer("in-good-time", v1alpha1.DecisionApprove)
			w.pass(7200)
			w.step()
			w.run.Spec.Suspend = ptr.To(false)
			w.settle()
		}},
		{name: "approval-times-out-without-suspended-time", script: rising, edit: timeout(v1alpha1.GatePair), play: func(w *world) {
			w.asked()
			w.pass(1000)
			for range 2 {
				w.remark("suspended for two hours, and then not for 1000 s")
				w.run.Spec.Suspend = ptr.To(true)
				w.step()
				w.pass(7200)
				w.step()
				w.run.Spec.Suspend = ptr.To(false)
				w.step()
				w.pass(1000)
				w.step()
			}
			w.remark("596 s are left")
			w.pass(594)
			w.step()
			w.step()
		}},
		{name: "approval-does-not-time-out-while-the-budget-holds-the-run", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			timeout(v1alpha1.GatePair)(s)
			s.Budget = &v1alpha1.BudgetSpec{GPUHours: "0.9", OnExceeded: v1alpha1.BudgetSuspend}
		}, play: func(w *world) {
			w.remark("the baseline's sampling takes its time")
			for w.run.Status.PendingApproval == nil {
				w.step()
				w.succeedBut(v1alpha1.StageEvaluationSample)
			}
			w.pass(3300)
			w.steps(2)
			w.remark("a day passes")
			w.pass(86400)
			w.step()
			w.raise("10")
			w.step()
			w.answer("in-good-time", v1alpha1.DecisionApprove)
			w.settle()
		}},
		{name: "approval-is-not-asked-of-a-rejected-adapter", script: script{accuracy: []string{"0.35", "0.3"}}, edit: approval(v1alpha1.GateEvaluate)},
	})
}

// TestPendingApproval says exactly what is to be answered, and since when; nothing is looked at again before the timeout.
func TestPendingApproval(t *testing.T) {
	w := newWorld(t, rising)
	approval(v1alpha1.GatePair)(&w.run.Spec)
	w.run.Spec.Approval.TimeoutSeconds = 3600
	w.asked()
	asked := metav1.NewTime(w.now)
	w.pass(599)
	next := w.step()
	want := &v1alpha1.PendingApproval{Iteration: 1, Gate: v1alpha1.GatePair, Digest: reference(file("it1/pairs")).Digest, Since: &asked}
	if diff := cmp.Diff(want, w.run.Status.PendingApproval); diff != "" {
		t.Error(diff)
	}
	if next.RequeueAfter != 3000*time.Second || w.run.Status.Phase != v1alpha1.PhaseAwaitingApproval {
		t.Errorf("phase %s, next look after %s", w.run.Status.Phase, next.RequeueAfter)
	}
	w.run.Spec.Approval.TimeoutSeconds = 0
	if next := w.step(); next.RequeueAfter != 0 {
		t.Errorf("without a timeout, the next look comes after %s", next.RequeueAfter)
	}
}
