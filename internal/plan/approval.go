package plan

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// approved says whether iteration k may pass a gate. Where a person is to be asked it waits, with what is to be approved in
// status, until an AlignmentApproval names exactly that.
func (r *runPlan) approved(k int32, gate v1alpha1.ApprovalGate, what *v1alpha1.ArtifactReference) (ok bool, end *ending) {
	spec := r.run.Spec.Approval
	if spec == nil || !slices.Contains(spec.After, gate) {
		return true, nil
	}
	if r.answer(k, gate) == nil {
		r.ask(k, gate, what.Digest)
	}
	answer := r.answer(k, gate)
	switch {
	case answer != nil && *answer.Approved:
		return true, nil
	case answer != nil && gate == v1alpha1.GatePair:
		return false, &ending{v1alpha1.ReasonApprovalDenied, fmt.Sprintf("iteration %d: AlignmentApproval %s denies training on its pairs", k, answer.Approval), true}
	case answer != nil:
		return false, nil
	}
	pending := r.status.PendingApproval
	if spec.TimeoutSeconds == 0 {
		return false, nil
	}
	left := time.Duration(spec.TimeoutSeconds)*time.Second - r.waited(pending)
	if left > 0 {
		r.until = r.Now.Add(left)
		return false, nil
	}
	return false, &ending{v1alpha1.ReasonApprovalTimedOut, fmt.Sprintf("iteration %d: nobody answered after %s within %d seconds", k, gate, spec.TimeoutSeconds), true}
}

// waited is how long a question has stood open while the run was not suspended.
func (r *runPlan) waited(p *v1alpha1.PendingApproval) time.Duration {
	until := r.Now.Time
	if held := r.heldSince(p); !held.IsZero() {
		until = held
	}
	return until.Sub(p.Since.Time) - time.Duration(p.SuspendedSeconds)*time.Second
}

// heldSince is since when a question has stood open in a run that is suspended; zero when it is not.
func (r *runPlan) heldSince(p *v1alpha1.PendingApproval) time.Time {
	c := meta.FindStatusCondition(r.was.Conditions, v1alpha1.ConditionSuspended)
	switch {
	case c == nil || c.Status != metav1.ConditionTrue:
		return time.Time{}
	case c.LastTransitionTime.Before(p.Since):
		return p.Since.Time // asked while the budget holds the run
	default:
		return c.LastTransitionTime.Time
	}
}

// resumed leaves out of what an open question has waited the time for which the run was suspended.
func (r *runPlan) resumed() {
	if p := r.status.PendingApproval; p != nil {
		if held := r.heldSince(p); !held.IsZero() {
			p.SuspendedSeconds += max(int64(r.Now.Sub(held).Seconds()), 0)
		}
	}
}

// answer that was taken at a gate; nil for none.
func (r *runPlan) answer(k int32, gate v1alpha1.ApprovalGate) *v1alpha1.ApprovalRecord {
	it := r.record(k)
	for i := range it.Approvals {
		if it.Approvals[i].Gate == gate {
			return &it.Approvals[i]
		}
	}
	return nil
}

// ask takes the oldest approval that answers, or says in status what is to be answered.
func (r *runPlan) ask(k int32, gate v1alpha1.ApprovalGate, digest v1alpha1.Digest) {
	for i := range r.Approvals {
		a := &r.Approvals[i]
		if s := a.Spec; s.RunUID != string(r.run.UID) || s.RunName != r.run.Name || s.Iteration != k || s.Gate != gate || s.Digest != digest {
			continue
		}
		it := r.record(k)
		it.Approvals = append(it.Approvals, v1alpha1.ApprovalRecord{
			Gate: gate, Approved: ptr.To(a.Spec.Decision == v1alpha1.DecisionApprove), Approval: a.Name, Digest: digest, Time: &r.Now,
		})
		return
	}
	pending := v1alpha1.PendingApproval{Iteration: k, Gate: gate, Digest: digest, Since: &r.Now}
	if was := r.was.PendingApproval; was != nil && was.Iteration == k && was.Gate == gate && was.Digest == digest {
		pending.Since, pending.SuspendedSeconds = was.Since, was.SuspendedSeconds
	}
	r.status.PendingApproval = &pending
}

// pending says that a person is asked, or no more.
func (r *runPlan) pending() {
	p := r.status.PendingApproval
	if p == nil {
		r.answered()
		return
	}
	r.status.Phase = v1alpha1.PhaseAwaitingApproval
	r.cond.set(v1alpha1.ConditionAwaitingApproval, metav1.ConditionTrue, v1alpha1.ReasonApprovalRequested,
		fmt.Sprintf("iteration %d waits after %s for an AlignmentApproval of %s: see status.pendingApproval", p.Iteration, p.Gate, p.Digest))
}

func (r *runPlan) answered() {
	if meta.IsStatusConditionTrue(r.status.Conditions, v1alpha1.ConditionAwaitingApproval) {
		r.cond.set(v1alpha1.ConditionAwaitingApproval, metav1.ConditionFalse, v1alpha1.ReasonAnswered, "nothing waits for an approval")
	}
}
