package plan

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/quota"
)

const gpu = corev1.ResourceName("nvidia.com/gpu")

// gpuQuota is a ResourceQuota, with the Job controller that makes the pods that it admits.
type gpuQuota struct {
	// hard is the quota, and foreign what others use of it.
	hard, foreign int32
	limits        []corev1.LimitRange
	// usedUp is a resource that the quota bounds too, of which nothing is left; none where empty.
	usedUp corev1.ResourceName
	// live pods by Job.
	live map[string]int32
	// idle says that the Job controller takes its time.
	idle bool
}

// withQuota makes a quota of four GPUs for a run whose stages have pods of one GPU each: four of them for sampling.
func (w *world) withQuota() *gpuQuota {
	one := &corev1.ResourceRequirements{Limits: corev1.ResourceList{gpu: resource.MustParse("1")}}
	s := &w.runtime.Spec
	s.Sample.Resources, s.Train.Resources, s.Sample.Shards = one, one, 4
	w.quota = &gpuQuota{hard: 4, live: map[string]int32{}}
	return w.quota
}

// created notes when a Job was made, from which the Job controller's time counts.
func (q *gpuQuota) created(w *world, c *Child) {
	c.Object.SetCreationTimestamp(metav1.NewTime(w.now))
}

// used GPUs of others and of live pods.
func (q *gpuQuota) used(children []*Child) int32 {
	n := q.foreign
	for _, c := range children {
		if gpuStage(c.Place) && c.Outcome.State == jobs.Active {
			n += q.live[c.Object.GetName()]
		}
	}
	return n
}

// createPods plays the Job controller: it ends pods that are too many, and creates those that the quota admits.
func (q *gpuQuota) createPods(children []*Child) {
	for _, c := range children {
		job, ok := c.Object.(*batchv1.Job)
		if !ok || c.Outcome.State != jobs.Active || job.Spec.Suspend != nil && *job.Spec.Suspend {
			continue
		}
		live := min(q.live[job.Name], *job.Spec.Parallelism)
		for live < *job.Spec.Parallelism && !q.idle && (!gpuStage(c.Place) || q.used(children) < q.hard) {
			live++
			q.live[job.Name] = live
		}
		q.live[job.Name], c.Outcome.Queued = live, live == 0
	}
}

// observe is what the operator sees of it.
func (q *gpuQuota) observe(b *Base) {
	var children []*Child
	for i := range b.Children {
		c := &b.Children[i]
		children = append(children, c)
		job, ok := c.Object.(*batchv1.Job)
		if !ok || c.Outcome.State != jobs.Active {
			continue
		}
		var pods []corev1.Pod
		for i := range q.live[job.Name] {
			pods = append(pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}, Status: corev1.PodStatus{Phase: corev1.PodRunning}})
		}
		c.Size = jobs.SizeOf(job, pods, b.Now.Time)
	}
	name := "requests." + gpu
	status := corev1.ResourceQuotaStatus{
		Hard: corev1.ResourceList{name: *resource.NewQuantity(int64(q.hard), resource.DecimalSI)},
		Used: corev1.ResourceList{name: *resource.NewQuantity(int64(q.used(children)), resource.DecimalSI)},
	}
	if q.usedUp != "" {
		status.Hard[q.usedUp], status.Used[q.usedUp] = resource.MustParse("1"), resource.MustParse("1")
	}
	b.Room = quota.New([]corev1.ResourceQuota{{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}, Status: status}}, q.limits)
}

// others use so many GPUs of the quota from now on.
func (w *world) others(gpus int32) {
	w.remark("others use %d of the %d GPUs", gpus, w.quota.hard)
	w.quota.foreign = gpus
}

// startedJob is the newest active Job of a stage.
func (w *world) startedJob(stage v1alpha1.StageName) *batchv1.Job {
	w.t.Helper()
	job, ok := w.child(stage).Object.(*batchv1.Job)
	if !ok {
		w.t.Fatalf("stage %s is no Job", stage)
	}
	return job
}
