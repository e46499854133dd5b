//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
)

const cannotStartRun = `
apiVersion: alignment.spatialalign.dev/v1alpha1
kind: AlignmentRun
metadata: {name: %[1]s}
spec:
  runtimeRef: {name: synthetic-%[1]s}
  prompts:
    train:      {generate: {count: 6, seed: 1}}
    evaluation: {generate: {count: 6, seed: 2}}
  iterations: 1
  startupDeadlineSeconds: 30
`

// cannotStart runs stages whose pods the real kubelet and scheduler cannot start: an image that is nowhere, a Secret that does
// not exist, more GPUs than any node has. Item 15 of the reliability bar: the reason is told (how soon is in the report: within 60 s), the run
// fails at the start-up deadline, and no pod of it is left.
func cannotStart(t *testing.T) {
	c := connect(t)
	ns := c.namespace("e2e-cannot-start")
	// Its quota would be the reason before the scheduler is asked.
	if err := c.DeleteAllOf(t.Context(), &corev1.ResourceQuota{}, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	var synthetic v1alpha1.AlignmentRuntime
	if err := c.Get(t.Context(), client.ObjectKey{Name: "synthetic"}, &synthetic); err != nil {
		t.Fatal(err)
	}
	for _, broken := range []struct {
		name  string
		spoil func(*v1alpha1.AlignmentRuntimeSpec)
		says  []string
	}{
		{
			"no-image", func(s *v1alpha1.AlignmentRuntimeSpec) { s.Sample.Image = "registry.invalid/not-there:1" },
			[]string{"Image", "registry.invalid/not-there:1"},
		},
		{
			"no-secret", func(s *v1alpha1.AlignmentRuntimeSpec) {
				s.Store = v1alpha1.StoreSpec{S3: &v1alpha1.S3Store{Bucket: "videos", Region: "us-east-1", SecretName: "not-there"}}
			},
			[]string{"CreateContainerConfigError", `secret "not-there" not found`},
		},
		{
			"no-gpu", func(s *v1alpha1.AlignmentRuntimeSpec) {
				s.Sample.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("64")}}
			},
			[]string{"Unschedulable", "nvidia.com/gpu"},
		},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			c := connect(t)
			runtime := v1alpha1.AlignmentRuntime{ObjectMeta: metav1.ObjectMeta{Name: "synthetic-" + broken.name}, Spec: *synthetic.Spec.DeepCopy()}
			broken.spoil(&runtime.Spec)
			c.create(&runtime)
			c.apply(fmt.Sprintf(cannotStartRun, broken.name), ns)

			var stage v1alpha1.StageStatus
			c.eventually(3*time.Minute, "the reason is told", func() (told bool) {
				stage, told = stuckStage(c.run(ns, broken.name), broken.says)
				return told
			})
			if stage.State == v1alpha1.StageRunning {
				waited := time.Since(stage.StartTime.Time)
				c.tell("%s: told %.0f s after the stage began: %s", broken.name, waited.Seconds(), stage.Message)
			}
			run := c.ended(ns, broken.name, 5*time.Minute)
			failed := condition(run, v1alpha1.ConditionFailed)
			if failed.Reason != v1alpha1.ReasonStageFailed || !strings.Contains(failed.Message, broken.says[0]) {
				t.Errorf("condition Failed = %s: %s", failed.Reason, failed.Message)
			}
			c.eventually(time.Minute, "no pod of the run is left", func() bool {
				var pods corev1.PodList
				if err := c.List(t.Context(), &pods, client.InNamespace(ns), client.MatchingLabels{v1alpha1.LabelRun: broken.name}); err != nil {
					t.Fatal(err)
				}
				for i := range pods.Items {
					if phase := pods.Items[i].Status.Phase; phase == corev1.PodPending || phase == corev1.PodRunning {
						return false
					}
				}
				return true
			})
		})
	}
}

// stuckStage is the stage of a run that says all of some words.
func stuckStage(run *v1alpha1.AlignmentRun, words []string) (v1alpha1.StageStatus, bool) {
	for _, it := range run.Status.Iterations {
		for _, stage := range it.Stages {
			all := true
			for _, word := range words {
				all = all && strings.Contains(stage.Message, word)
			}
			if all {
				return stage, true
			}
		}
	}
	return v1alpha1.StageStatus{}, false
}
