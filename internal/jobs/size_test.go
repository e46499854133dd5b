package jobs_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// What a Job is to have at least and at most is told by the Job. A queue's Job is not ours to size, and needs room for what the queue admits
// at least; a training is whole or not at all.
func TestBounds(t *testing.T) {
	tests := []struct {
		name  string
		stage string
		own   v1alpha1.StageScheduling
		want  jobs.Bounds
		// least pods that there must be room for.
		least int32
	}{
		{"as many as fit", "sample", v1alpha1.StageScheduling{}, jobs.Bounds{Least: 1, Most: 4}, 1},
		{"at least two", "sample", v1alpha1.StageScheduling{Shards: 16, MaxParallel: 8, MinParallel: 2}, jobs.Bounds{Least: 2, Most: 8}, 2},
		{"a minimum above the shards", "track", v1alpha1.StageScheduling{MinParallel: 8}, jobs.Bounds{Least: 2, Most: 2}, 2},
		{"a training", "train", v1alpha1.StageScheduling{}, jobs.Bounds{Least: 1, Most: 1}, 1},
		{"a stage of the operator's", "score", v1alpha1.StageScheduling{}, jobs.Bounds{Least: 1, Most: 1}, 1},
		{"in a queue", "sample", v1alpha1.StageScheduling{QueueName: "gpu", MinParallel: 2}, jobs.Bounds{}, 2},
		{"in a queue, all together", "sample", v1alpha1.StageScheduling{QueueName: "gpu", Shards: 8, MaxParallel: 6}, jobs.Bounds{}, 6},
		{"a training in a queue", "train", v1alpha1.StageScheduling{QueueName: "gpu"}, jobs.Bounds{}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := everyStage()[tt.stage]
			w.Scheduling = &v1alpha1.SchedulingSpec{Sample: &tt.own, Track: &tt.own, Train: &tt.own}
			job := jobs.Build(w)
			if got := jobs.BoundsOf(job); got != tt.want {
				t.Errorf("from %d to %d, want %d to %d", got.Least, got.Most, tt.want.Least, tt.want.Most)
			}
			if got := jobs.Least(job); got != tt.least {
				t.Errorf("needs room for %d, want %d", got, tt.least)
			}
		})
	}
}

// Bounds that somebody spoilt harm nobody.
func TestSpoiltBounds(t *testing.T) {
	for _, tt := range []struct {
		least, most string
		want        jobs.Bounds
	}{
		{"", "", jobs.Bounds{}},
		{"1", "many", jobs.Bounds{}},
		{"few", "3", jobs.Bounds{Least: 1, Most: 3}},
		{"-7", "99999", jobs.Bounds{Least: 1, Most: 4}},
		{"3", "-1", jobs.Bounds{Least: 1, Most: 1}},
	} {
		job := jobs.Build(everyStage()["sample"])
		job.Annotations[v1alpha1.AnnotationMinParallel], job.Annotations[v1alpha1.AnnotationMaxParallel] = tt.least, tt.most
		if got := jobs.BoundsOf(job); got != tt.want {
			t.Errorf("from %q to %q is read as %+v", tt.least, tt.most, got)
		}
	}
}

// How many pods of four shards there are and are still to come, half a minute after the Job began.
func TestSizeOf(t *testing.T) {
	live := func(index int) corev1.Pod {
		p := pod(index, 0, 0, "")
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning}
		return p
	}
	done := pod(0, 0, -10, word("m.json", ""))
	failed := pod(1, 70, -10, "broken")
	just := pod(1, 70, 29, "broken")
	tests := []struct {
		name string
		edit func(*batchv1.Job)
		pods []corev1.Pod
		want jobs.Size
	}{
		{"no pod yet", nil, nil, jobs.Size{Now: 4, Missing: 4, Tried: true}},
		{"some", nil, []corev1.Pod{live(0), live(1), live(2)}, jobs.Size{Now: 4, Live: 3, Missing: 1, Tried: true}},
		{"fewer at a time", func(j *batchv1.Job) { j.Spec.Parallelism = ptr.To(int32(2)) }, []corev1.Pod{live(0)}, jobs.Size{Now: 2, Live: 1, Missing: 1, Tried: true}},
		{"one is done", nil, []corev1.Pod{done, live(1), live(2), live(3)}, jobs.Size{Now: 4, Live: 3, Tried: true}},
		{"one is done and counted", func(j *batchv1.Job) { j.Status.Succeeded = 1 }, []corev1.Pod{done, live(1)},
			jobs.Size{Bounds: jobs.Bounds{Least: 1, Most: 3}, Now: 4, Live: 1, Missing: 2, Tried: true}},
		{"one has failed for good", func(j *batchv1.Job) { j.Status.FailedIndexes = ptr.To("1,3") }, []corev1.Pod{failed, live(0)},
			jobs.Size{Bounds: jobs.Bounds{Least: 1, Most: 2}, Now: 4, Live: 1, Missing: 1, Tried: true}},
		{"one has just failed", nil, []corev1.Pod{just, live(0), live(2), live(3)}, jobs.Size{Now: 4, Live: 3, Missing: 1}},
		{"a young Job", func(j *batchv1.Job) { j.CreationTimestamp = metav1.NewTime(noon.Add(26 * time.Second)) }, nil, jobs.Size{Now: 4, Missing: 4}},
		{"admitted just now", func(j *batchv1.Job) { j.Status.StartTime = &metav1.Time{Time: noon.Add(26 * time.Second)} }, nil, jobs.Size{Now: 4, Missing: 4}},
		{"suspended", func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }, nil, jobs.Size{Now: 4, Tried: true}},
		{"nothing at a time", func(j *batchv1.Job) { j.Spec.Parallelism = ptr.To(int32(0)) }, nil, jobs.Size{Tried: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			job := jobs.Build(everyStage()["sample"])
			job.CreationTimestamp = metav1.NewTime(noon)
			if tt.edit != nil {
				tt.edit(job)
			}
			if tt.want.Bounds == (jobs.Bounds{}) {
				tt.want.Bounds = jobs.Bounds{Least: 1, Most: 4}
			}
			if diff := cmp.Diff(tt.want, jobs.SizeOf(job, tt.pods, noon.Add(30*time.Second))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
