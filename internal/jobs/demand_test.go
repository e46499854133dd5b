package jobs_test

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/internal/jobs"
)

// A Job of four shards, two at a time, with two GPUs each, a minute after its creation at noon.
func TestDemanded(t *testing.T) {
	job := func(edits ...func(*batchv1.Job)) *batchv1.Job {
		j := ended("sample", "", "", "")
		j.Spec.Completions, j.Spec.Parallelism, j.Spec.Suspend = ptr.To(int32(4)), ptr.To(int32(2)), ptr.To(false)
		j.Spec.Template.Spec = holding().Spec
		for _, edit := range edits {
			edit(j)
		}
		return j
	}
	unplaced := holding(func(p *corev1.Pod) { p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending} })
	starting, runs, failed := holding(phase(corev1.PodPending)), holding(exit(5, 10), phase(corev1.PodRunning)), holding(exit(5, 10))
	succeeded := func(n int32) func(*batchv1.Job) { return func(j *batchv1.Job) { j.Status.Succeeded = n } }
	suspended := func(j *batchv1.Job) {
		j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue, LastTransitionTime: at(50)}}
	}
	for _, tt := range []struct {
		name string
		job  *batchv1.Job
		pods []corev1.Pod
		want jobs.Demand
	}{
		{"no pod yet", job(), nil, jobs.Demand{Waiting: 4, Waited: time.Minute}},
		{"pods without a node", job(), []corev1.Pod{unplaced, unplaced}, jobs.Demand{Waiting: 4, Waited: time.Minute}},
		{"one has a node and does not run yet", job(), []corev1.Pod{starting, unplaced}, jobs.Demand{InUse: 2, Waiting: 2, Waited: time.Minute}},
		{"one runs", job(), []corev1.Pod{runs, unplaced}, jobs.Demand{InUse: 2, Waiting: 2}},
		{"all run", job(), []corev1.Pod{runs, runs}, jobs.Demand{InUse: 4}},
		{"one failed and is to be replaced", job(), []corev1.Pod{runs, failed}, jobs.Demand{InUse: 2, Waiting: 2}},
		{"the last shard", job(succeeded(3)), []corev1.Pod{runs}, jobs.Demand{InUse: 2}},
		{"between two pods", job(succeeded(3)), nil, jobs.Demand{Waiting: 2}},
		{"a queue has taken its pods back", job(suspended), nil, jobs.Demand{Waiting: 4, Waited: 10 * time.Second}},
		{"it is being deleted", job(func(j *batchv1.Job) { j.DeletionTimestamp = &metav1.Time{Time: noon} }), []corev1.Pod{runs}, jobs.Demand{InUse: 2}},
		{"it has failed, and a pod goes on", ended("sample", batchv1.JobFailed, "", ""), []corev1.Pod{runs, failed}, jobs.Demand{InUse: 2}},
	} {
		if got := jobs.Demanded(tt.job, tt.pods, counted, at(60).Time); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if got := jobs.Demanded(job(), []corev1.Pod{runs}, jobs.GPUs{Resource: "amd.com/gpu"}, at(60).Time); got != (jobs.Demand{}) {
		t.Errorf("of another resource it demands %+v", got)
	}
}
