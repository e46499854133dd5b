package controllers

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// announce emits the events that all kinds share: failed attempts and the end. What a run owns ends quietly: the run tells.
func (e *Engine) announce(o client.Object, before, after ledger) {
	for _, k := range slices.Sorted(maps.Keys(after.stages)) {
		for _, rec := range *after.stages[k] {
			// The last failure is told by the end that it brings.
			if rec.State != v1alpha1.StageFailed && rec.Failures > failures(before, k, rec) {
				e.Events.Eventf(o, nil, corev1.EventTypeWarning, v1alpha1.EventStageRetried, string(rec.Name),
					"stage %s has failed %d time(s): %s", rec.Name, rec.Failures, cmp.Or(short(rec.Message), "another attempt has succeeded since"))
			}
		}
	}
	if metav1.GetControllerOf(o) != nil {
		return
	}
	for kind, level := range map[string]string{v1alpha1.ConditionComplete: corev1.EventTypeNormal, v1alpha1.ConditionFailed: corev1.EventTypeWarning} {
		c := meta.FindStatusCondition(*after.conditions, kind)
		if c != nil && c.Status == metav1.ConditionTrue && !meta.IsStatusConditionTrue(*before.conditions, kind) {
			e.Events.Eventf(o, nil, level, c.Reason, kind, "%s", short(c.Message))
		}
	}
}

// failures that were recorded of the same stage before.
func failures(l ledger, k int32, after v1alpha1.StageStatus) int32 {
	if records := l.stages[k]; records != nil {
		for _, rec := range *records {
			if rec.Name == after.Name && ptr.Deref(rec.Round, 0) == ptr.Deref(after.Round, 0) {
				return rec.Failures
			}
		}
	}
	return 0
}

// short keeps a message within what an event's note may hold.
func short(s string) string {
	const most = 1000
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// look reports whether it is time to read the progress of running pods.
func (e *Engine) look(p *v1alpha1.ProgressStatus) bool {
	return p == nil || p.LastUpdatedTime == nil || e.Clock.Since(p.LastUpdatedTime.Time) >= e.Config.ProgressInterval
}

// nestedMoved passes all changes of a batch or dataset of a run but that it appears.
func nestedMoved() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(c event.CreateEvent) bool {
		switch o := c.Object.(type) {
		case *v1alpha1.ScoringBatch:
			return plan.Ended(o.Status.Conditions)
		case *v1alpha1.PreferenceDataset:
			return plan.Ended(o.Status.Conditions)
		default:
			return true
		}
	}}
}

// jobMoved passes the changes of a Job that a plan can depend on: it ends, is suspended or goes on, is being deleted, is gone,
// or loses a pod without which its others cannot go on. That it appears is no news to the plan that made it.
func jobMoved() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(c event.CreateEvent) bool {
		job, ok := c.Object.(*batchv1.Job)
		return !ok || jobs.Finished(job)
	}, UpdateFunc: func(u event.UpdateEvent) bool {
		before, ok := u.ObjectOld.(*batchv1.Job)
		after, ok2 := u.ObjectNew.(*batchv1.Job)
		return !ok || !ok2 || jobs.Finished(before) != jobs.Finished(after) ||
			ptr.Deref(before.Spec.Suspend, false) != ptr.Deref(after.Spec.Suspend, false) ||
			before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
			jobs.Gang(after) && ptr.Deref(before.Status.Terminating, 0) != ptr.Deref(after.Status.Terminating, 0)
	}}
}
