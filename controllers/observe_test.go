package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// A batch or a dataset that succeeded tells what its stages ran.
func TestImagesOfNestedStages(t *testing.T) {
	complete := []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue}}
	for name, c := range map[string]struct {
		stages []v1alpha1.StageStatus
		want   jobs.Outcome
	}{
		"a batch": {
			[]v1alpha1.StageStatus{{Name: v1alpha1.StageTrack, Image: "runtime@sha256:1"}, {Name: v1alpha1.StageScore, Image: "operator@sha256:2"}},
			jobs.Outcome{State: jobs.Succeeded, Image: "operator@sha256:2", TrackImage: "runtime@sha256:1"},
		},
		"a batch of stored tracks": {
			[]v1alpha1.StageStatus{{Name: v1alpha1.StageScore, Image: "operator@sha256:2"}},
			jobs.Outcome{State: jobs.Succeeded, Image: "operator@sha256:2"},
		},
		"a dataset": {
			[]v1alpha1.StageStatus{{Name: v1alpha1.StagePair, Image: "operator@sha256:3"}},
			jobs.Outcome{State: jobs.Succeeded, Image: "operator@sha256:3"},
		},
	} {
		if diff := cmp.Diff(c.want, nestedOutcome(complete, c.stages)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
