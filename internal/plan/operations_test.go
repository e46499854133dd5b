package plan

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestRandomOperations holds a run against the laws while users edit what may be edited, and everything else happens too:
// reliability.md, item 8. What such a run comes to depends on the edits; that it is sound does not.
func TestRandomOperations(t *testing.T) {
	const operations = 4000
	done, ends := 0, map[string]int{}
	for seed := uint64(0); done < operations; seed++ {
		f := newFate(t, seed, everything, everyPolicy)
		for passes := 0; passes < 400 && !Ended(f.run.Status.Conditions) && done < operations; passes++ {
			f.step()
			if f.strike(); f.IntN(10) == 0 {
				f.edit()
			}
			done++
		}
		f.checkModel()
		for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed} {
			if c := meta.FindStatusCondition(f.run.Status.Conditions, kind); c != nil {
				ends[c.Reason]++
			}
		}
		f.steps(3) // the end is the end
	}
	t.Logf("%d operations; ends: %v", done, ends)
	if len(ends) < 3 {
		t.Errorf("the operations come to nothing but %v", ends)
	}
}

// edit changes one of the fields that may be changed.
func (f fate) edit() {
	s := &f.run.Spec
	f.run.Generation++
	switch f.IntN(6) {
	case 0:
		s.Iterations = int32(1 + f.IntN(5))
	case 1:
		s.Stopping = []*v1alpha1.StoppingSpec{nil, {TargetAccuracy: "0.8"}, {Patience: 1}, {Patience: 3, TargetAccuracy: "0.99"}}[f.IntN(4)]
	case 2:
		s.Budget = []*v1alpha1.BudgetSpec{nil, {GPUHours: "1", OnExceeded: v1alpha1.BudgetSuspend}, {GPUHours: "9", OnExceeded: v1alpha1.BudgetStop}}[f.IntN(3)]
	case 3:
		s.TTLSecondsAfterFinished = []*int32{nil, ptr.To(int32(1000))}[f.IntN(2)]
	case 4:
		if ptr.Deref(s.Suspend, false) {
			s.Scheduling = []*v1alpha1.SchedulingSpec{nil, {QueueName: "team-b"}, {Sample: &v1alpha1.StageScheduling{Shards: 4}}}[f.IntN(3)]
		}
	case 5:
		if f.run.Status.PendingApproval != nil {
			f.answer("on-second-thoughts", v1alpha1.DecisionDeny)
		}
	}
}

// checkModel holds what a run recorded against what its script says of it, in whatever order things happened.
func (f fate) checkModel() {
	f.t.Helper()
	best, s := int32(0), f.run.Status
	for i := range s.Iterations {
		it := &s.Iterations[i]
		k := *it.Iteration
		if it.Evaluation != nil && string(it.Evaluation.Accuracy[0].Value) != f.reaches(k) {
			f.t.Errorf("iteration %d has an accuracy of %s", k, it.Evaluation.Accuracy[0].Value)
		}
		if it.Adapter != nil && it.Adapter.Key != v1alpha1.ArtifactKey(fmt.Sprintf("it%d/adapter", k)) {
			f.t.Errorf("iteration %d has the adapter %s", k, it.Adapter.Key)
		}
		if it.Decision == nil {
			continue
		}
		if *it.Comparison.Iteration != best {
			f.t.Errorf("iteration %d was compared with %d, and best was %d", k, *it.Comparison.Iteration, best)
		}
		if *it.Decision.Accepted {
			best = k
		}
	}
	if s.Best != nil && *s.Best.Iteration != best {
		f.t.Errorf("best is %d, and the decisions say %d:\n%s", *s.Best.Iteration, best, f.trace.String())
	}
}
