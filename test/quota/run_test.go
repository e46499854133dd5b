//go:build quota

package quota

import (
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/worker/synthetic/stages"
)

// withGPUs is a runtime whose pods have a GPU each, and whose training pauses after each step.
func withGPUs(name string, spec v1alpha1.AlignmentRuntimeSpec, pause time.Duration) *v1alpha1.AlignmentRuntime {
	r := &v1alpha1.AlignmentRuntime{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *spec.DeepCopy()}
	for _, stage := range []*v1alpha1.StageTemplate{&r.Spec.Sample, &r.Spec.Track, &r.Spec.Train} {
		stage.Resources.Limits["nvidia.com/gpu"] = resource.MustParse("1")
	}
	r.Spec.Train.Env = []v1alpha1.EnvVar{{Name: stages.EnvPace, Value: ptr.To(strconv.FormatInt(pause.Milliseconds(), 10))}}
	return r
}

// small is the README's run with one iteration and fewer samples: a minute, without the pauses of its training.
func (c cluster) small(namespace, name, runtime string) *v1alpha1.AlignmentRun {
	c.Helper()
	run := c.sample("config/samples/first-run.yaml")
	run.Namespace, run.Name = namespace, name
	run.Spec.RuntimeRef.Name, run.Spec.Iterations = runtime, 1
	run.Spec.Evaluation = &v1alpha1.EvaluationSpec{SamplesPerPrompt: 4}
	return run
}

// stage is the newest record of a stage in an iteration.
func stage(t *testing.T, run *v1alpha1.AlignmentRun, iteration int, name v1alpha1.StageName) *v1alpha1.StageStatus {
	t.Helper()
	if iteration < len(run.Status.Iterations) {
		for i := range run.Status.Iterations[iteration].Stages {
			if rec := &run.Status.Iterations[iteration].Stages[i]; rec.Name == name {
				return rec
			}
		}
	}
	t.Fatalf("run %s has no stage %s in iteration %d", run.Name, name, iteration)
	return nil
}

// best is the digest of a run's best adapter.
func best(t *testing.T, run *v1alpha1.AlignmentRun) v1alpha1.Digest {
	t.Helper()
	if run.Status.Best == nil || run.Status.Best.Adapter == nil {
		t.Fatalf("run %s has no best adapter: its only one was not accepted", run.Name)
	}
	return run.Status.Best.Adapter.Digest
}
