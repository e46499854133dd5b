package controllers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/metrics"
)

// What a scraper is told of a run whose training holds two GPUs, fails and succeeds: what status says, and it costs no request.
func TestMetrics(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.hold[v1alpha1.StageTrain] = true
	c.operate(often)
	runtime, run := c.runtime(), c.run(1)
	runtime.Spec.Train.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")}}
	c.create(runtime, run)

	job := c.job(v1alpha1.StageTrain, 0)
	if got := c.metric(metrics.Waiting, "Train"); got != 2 {
		t.Errorf("%v GPUs are waited for before a pod exists, want 2", got)
	}
	now := time.Now()
	c.startPod(job, 0, corev1.PodStatus{
		Phase:      corev1.PodRunning,
		Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-100 * time.Second))}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "stage", Image: "i", ImageID: "i", State: corev1.ContainerState{
			Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now)},
		}}},
	})
	c.until("the pod's GPUs and its GPU time are seen", func() bool {
		return c.metric(metrics.InUse, "Train") == 2 && c.metric(metrics.Waiting, "Train") == 0 && c.metric(metrics.UsedGPUSeconds, "Train") >= 200 && c.metric(metrics.GPUSeconds, "Train") == 0
	})
	c.crash(job)
	c.endJob(job, []string{"0"})
	delete(c.hold, v1alpha1.StageTrain)
	c.endsAs(run, v1alpha1.ConditionComplete, v1alpha1.ReasonIterationsCompleted)
	c.until("the gauges show the end", func() bool { return c.metric(metrics.Runs, "Succeeded") == 1 })

	used := float64(run.Status.GPUSeconds)
	wasted := run.Status.WastedGPUSeconds
	if wasted == nil || wasted.Failed != run.Status.GPUSeconds || wasted.Interrupted != 0 {
		t.Fatalf("status has %v GPU-seconds and wasted %+v of them, want all in pods that failed", used, wasted)
	}
	for _, want := range []struct {
		metric, label string
		value         float64
	}{
		{metrics.UsedGPUSeconds, "Train", used}, {metrics.GPUSeconds, "Failed", used}, {metrics.GPUSeconds, "Train", used}, {metrics.Recorded, c.namespace, used},
		{metrics.Attempts, "GPUFault", 1}, {metrics.Attempts, "Train", 2}, {metrics.Attempts, "Track", 3}, {metrics.Attempts, "Interrupted", 0},
		{metrics.Wait, "Train", 1}, {metrics.Finished, "IterationsCompleted", 1}, {metrics.InUse, "Train", 0}, {metrics.Waiting, "Train", 0},
	} {
		if got := c.metric(want.metric, want.label); got != want.value {
			t.Errorf("%s of %s is %v, want %v", want.metric, want.label, got, want.value)
		}
	}
	before := c.requests.reads()
	for range 10 {
		c.metric(metrics.Runs, "Succeeded")
	}
	if after := c.requests.reads(); after != before {
		t.Errorf("ten scrapes read %d times from the API server", after-before)
	}
}

// reads of the API server, those of caches apart.
func (c *counter) reads() (n int) {
	c.Lock()
	defer c.Unlock()
	for kind, times := range c.races {
		if strings.HasPrefix(kind, http.MethodGet) {
			n += times
		}
	}
	return n
}

// metric is the sum of a metric's values with some label of this value; of a histogram the number of observations.
func (c *cluster) metric(name, label string) (sum float64) {
	c.t.Helper()
	families, err := c.metrics.Gather()
	c.must(err)
	for _, family := range families {
		for _, m := range family.Metric {
			if family.GetName() == name && labelled(m, label) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func labelled(m *dto.Metric, value string) bool {
	for _, l := range m.Label {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

// crash ends the pods of a Job with a fault of their GPU.
func (c *cluster) crash(job *batchv1.Job) {
	c.t.Helper()
	var pods corev1.PodList
	c.must(c.List(c.t.Context(), &pods, client.InNamespace(c.namespace), client.MatchingLabels{v1alpha1.LabelStage: string(stageOf(job))}))
	for i := range pods.Items {
		p := &pods.Items[i]
		p.Status.Phase = corev1.PodFailed
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 76, Reason: "Error", Message: `{"class":"GPUFault","message":"NCCL"}`, FinishedAt: metav1.Now(),
		}}
		c.must(c.Status().Update(c.t.Context(), p))
	}
}
