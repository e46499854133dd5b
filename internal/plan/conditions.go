package plan

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// Ended reports whether an object's end is recorded. A terminal state is sticky.
func Ended(conditions []metav1.Condition) bool {
	return meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionComplete) ||
		meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionFailed)
}

// conditions sets an object's conditions for one generation at one time.
type conditions struct {
	list       *[]metav1.Condition
	generation int64
	now        metav1.Time
	// was is what is recorded: what is as it was, whatever it was in between, is no transition.
	was []metav1.Condition
}

func (c conditions) set(kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(c.list, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: clip(message, maxConditionMessage), ObservedGeneration: c.generation, LastTransitionTime: c.now,
	})
	if was := meta.FindStatusCondition(c.was, kind); was != nil && was.Status == status {
		meta.FindStatusCondition(*c.list, kind).LastTransitionTime = was.LastTransitionTime
	}
}

// wait says that the object is not accepted yet.
func (c conditions) wait(f *failure) {
	c.set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, f.reason, f.message)
}

// run says that the object is accepted and its stages run.
func (c conditions) run() {
	c.set(v1alpha1.ConditionReconciling, metav1.ConditionFalse, v1alpha1.ReasonStagesRunning, "the spec is accepted; stages run")
}

// quota says whether a queue, a quota or a busy node holds up one of the stages; where tells which it is.
func (c conditions) quota(active []*Child, where func(jobs.Place) string) {
	for _, child := range active {
		if child.Outcome.Queued {
			c.set(v1alpha1.ConditionQuotaReserved, metav1.ConditionFalse, or(child.Outcome.QueueReason, v1alpha1.ReasonQueued),
				where(child.Place)+or(child.Outcome.Message, "its pods have no node yet"))
			return
		}
	}
	c.set(v1alpha1.ConditionQuotaReserved, metav1.ConditionTrue, v1alpha1.ReasonAdmitted, "no stage waits in a queue")
}

// queued says whether a stage of a batch or dataset waits, for the run above to tell; nothing until one does.
func (c conditions) queued(s *stages, waits func(*Child) bool) {
	queue := slices.DeleteFunc(s.queue(), func(child *Child) bool { return !waits(child) })
	if len(queue) > 0 || meta.FindStatusCondition(*c.list, v1alpha1.ConditionQuotaReserved) != nil {
		c.quota(queue, func(jobs.Place) string { return "" })
	}
}

// unqueue says that nothing waits for quota any more, of an object whose stages do not run now.
func (c conditions) unqueue() {
	if meta.IsStatusConditionFalse(*c.list, v1alpha1.ConditionQuotaReserved) {
		c.quota(nil, nil)
	}
}

// complete ends the object well.
func (c conditions) complete(reason, message string) {
	c.unqueue()
	c.set(v1alpha1.ConditionComplete, metav1.ConditionTrue, reason, message)
	c.set(v1alpha1.ConditionReconciling, metav1.ConditionFalse, v1alpha1.ReasonEnded, "the object has ended")
}

// fail ends the object badly.
func (c conditions) fail(f *failure) {
	c.unqueue()
	c.set(v1alpha1.ConditionFailed, metav1.ConditionTrue, f.reason, f.message)
	c.set(v1alpha1.ConditionStalled, metav1.ConditionTrue, f.reason, f.message)
	c.set(v1alpha1.ConditionReconciling, metav1.ConditionFalse, v1alpha1.ReasonEnded, "the object has ended")
}

// CreateRefused says, after the API server refused to create a child of an object that has not ended, what it said. before are the
// recorded conditions: the same refusal again is no transition.
func CreateRefused(list *[]metav1.Condition, before []metav1.Condition, generation int64, now metav1.Time, message string) {
	conditions{list, generation, now, before}.set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonCreateRefused, message)
}

// What status may hold of a message, in bytes.
const (
	maxConditionMessage = 4096
	maxStageMessage     = 2048
	maxImage            = 512
	maxDecision         = 1024
)

// clip keeps a message within what status may hold.
func clip(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most-3], "") + "..."
	}
	return s
}
