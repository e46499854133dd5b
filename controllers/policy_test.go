package controllers_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// A runtime that is withdrawn from a namespace starts nothing there any more, and what runs ends. Nobody asks: it is watched.
func TestRuntimeIsWithdrawn(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.operate(time.Hour)
	run, runtime := c.run(1), c.runtime()
	c.hold[v1alpha1.StageTrain] = true
	c.create(runtime, run)
	c.job(v1alpha1.StageTrain, 0)

	runtime.Spec.AllowedNamespaces = nil
	c.must(c.Update(t.Context(), runtime))
	held := func() bool {
		c.read(run)
		s := meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionSuspended)
		return s != nil && s.Status == "True" && s.Reason == v1alpha1.ReasonNamespaceNotAllowed
	}
	c.until("the run says that it is held", held)
	clear(c.hold)
	trained := func() bool {
		c.read(run)
		return len(run.Status.Iterations) == 2 && run.Status.Iterations[1].Adapter != nil
	}
	c.until("the training is recorded", trained)
	if last := c.attempts(); !held() || strings.Contains(strings.Join(last, " "), "1 EvaluationPrepare") {
		t.Errorf("the stages are %v, the conditions %+v", last, run.Status.Conditions)
	}

	runtime.Spec.AllowedNamespaces = []string{c.namespace}
	c.must(c.Update(t.Context(), runtime))
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
}

// What an admin says of the pods passes Pod Security, restricted.
func TestSettingsAreAdmitted(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.operate(often)
	run, runtime := c.run(1), c.runtime()
	runtime.Spec.Weights = &v1alpha1.WeightsSpec{PVC: v1alpha1.PVCStore{ClaimName: "model-weights"}}
	for _, stage := range []*v1alpha1.StageTemplate{&runtime.Spec.Sample, &runtime.Spec.Track, &runtime.Spec.Train} {
		stage.PodSettings = v1alpha1.PodSettings{
			NodeSelector: map[string]v1alpha1.LabelValue{"gpu": "h100"}, Tolerations: []v1alpha1.Toleration{{Key: "gpu", Operator: "Exists"}},
			ResourceClaims: []v1alpha1.StageResourceClaim{{Name: "gpu", ResourceClaimTemplateName: "h100", GPUs: ptr.To(int32(1))}}, SharedMemory: "8Gi",
		}
	}
	c.create(runtime, run)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
}
