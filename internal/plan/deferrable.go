package plan

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// deferrable says that nothing is new but progress, GPU time, prepare stages that succeeded and first attempts that started:
// the live children tell the same, and a prepare stage that had to run again would cost seconds.
func (r *runPlan) deferrable() bool {
	was, is := *r.was, r.status
	if !sameState(was, is) {
		return false
	}
	recorded := map[int32][]v1alpha1.StageStatus{}
	for _, it := range was.Iterations {
		recorded[*it.Iteration] = it.Stages
	}
	for _, it := range slices.Backward(is.Iterations) { // what is new is in the newest
		if !sameStages(recorded[*it.Iteration], it.Stages, cheap) {
			return false
		}
	}
	return true
}

// onlyUsage says that nothing is new but GPU and waiting time.
func (r *runPlan) onlyUsage() bool {
	if !sameState(*r.was, r.status) || len(r.was.Iterations) != len(r.status.Iterations) {
		return false
	}
	for i := range slices.Backward(r.status.Iterations) {
		if !sameStages(r.was.Iterations[i].Stages, r.status.Iterations[i].Stages, func(*v1alpha1.StageStatus) bool { return false }) {
			return false
		}
	}
	return true
}

// sameState compares what is written at once in any case, whatever the stages say.
func sameState(was, is v1alpha1.AlignmentRunStatus) bool {
	return equality.Semantic.DeepEqual(was.Conditions, is.Conditions) && was.Phase == is.Phase &&
		equality.Semantic.DeepEqual(was.PendingApproval, is.PendingApproval)
}

// sameStages says that the records of stages differ by nothing but GPU and waiting time, and by what may be lost.
func sameStages(was, is []v1alpha1.StageStatus, mayBeLost func(*v1alpha1.StageStatus) bool) bool {
	for i := range is {
		rec := &is[i]
		before := stageRecord(was, rec.Name, *rec.Round)
		if before != nil && equality.Semantic.DeepEqual(withoutUsage(*before), withoutUsage(*rec)) {
			continue
		}
		if !mayBeLost(rec) {
			return false
		}
	}
	return true
}

func withoutUsage(rec v1alpha1.StageStatus) v1alpha1.StageStatus {
	rec.GPUSeconds, rec.WastedGPUSeconds, rec.SucceededGPUSeconds, rec.WaitSeconds, rec.Usage, rec.UsageTime = 0, nil, 0, nil, nil, nil
	return rec
}

// cheap says that losing the record costs nothing, or a prepare stage.
func cheap(rec *v1alpha1.StageStatus) bool {
	skipped := rec.State == v1alpha1.StageSucceeded && rec.Child == ""
	started := rec.State == v1alpha1.StageRunning && rec.StuckSince == nil
	prepared := rec.State == v1alpha1.StageSucceeded && prepares(rec.Name)
	return *rec.Attempt == 0 && rec.Failures == 0 && (started || skipped || prepared)
}

func prepares(stage v1alpha1.StageName) bool {
	switch stage {
	case v1alpha1.StagePrepare, v1alpha1.StageEvaluationPrepare, v1alpha1.StageReevaluationPrepare, v1alpha1.StageTestPrepare:
		return true
	default:
		return false
	}
}

// undisturbed says that the records hold nothing but first attempts, which the live children tell as well.
func undisturbed(records []v1alpha1.StageStatus) bool {
	for _, rec := range records {
		if rec.Failures > 0 || *rec.Attempt > 0 || rec.StuckSince != nil {
			return false
		}
	}
	return true
}

// routine says that a status of an object with a few stages may wait to be written: nothing is new but progress and GPU time
// or, where a run above would make the object again, first attempts. What a queue says is told at once.
func routine(owned bool, wasConditions, isConditions []metav1.Condition, was, is []v1alpha1.StageStatus) bool {
	return owned && undisturbed(is) && sameQuota(wasConditions, isConditions) ||
		equality.Semantic.DeepEqual(wasConditions, isConditions) && sameStages(was, is, func(*v1alpha1.StageStatus) bool { return false })
}

// sameQuota says that nobody has held anything up, or let it go, since. That pods have no node yet is no such news: as a rule they
// have one in a moment.
func sameQuota(was, is []metav1.Condition) bool {
	before, now := meta.FindStatusCondition(was, v1alpha1.ConditionQuotaReserved), meta.FindStatusCondition(is, v1alpha1.ConditionQuotaReserved)
	waited := before != nil && before.Status == metav1.ConditionFalse
	lacks := now != nil && now.Status == metav1.ConditionFalse && now.Reason != v1alpha1.ReasonQueued
	return !waited && !lacks || equality.Semantic.DeepEqual(before, now)
}
