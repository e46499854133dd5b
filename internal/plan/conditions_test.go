package plan

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// TestNoTransition: a condition that a plan sets twice, and that ends up as it was recorded, tells the time of its transition: else
// each plan of an object that waits would be a write.
func TestNoTransition(t *testing.T) {
	before := metav1.NewTime(time.Unix(1_800_000_000, 0))
	recorded := []metav1.Condition{{Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue, LastTransitionTime: before}}
	planned := append([]metav1.Condition(nil), recorded...)
	c := conditions{&planned, 1, metav1.NewTime(before.Add(time.Minute)), recorded}
	c.run()
	if is := meta.FindStatusCondition(planned, v1alpha1.ConditionReconciling); !is.LastTransitionTime.After(before.Time) {
		t.Errorf("a transition is told as of %s", is.LastTransitionTime)
	}
	c.wait(&failure{v1alpha1.ReasonQuotaExceeded, "no room"})
	if is := meta.FindStatusCondition(planned, v1alpha1.ConditionReconciling); !is.LastTransitionTime.Equal(&before) {
		t.Errorf("no transition is told as of %s", is.LastTransitionTime)
	}
}
