package plan

import (
	"strconv"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/quota"
)

var (
	trains  = jobs.Place{Iteration: 1, Stage: v1alpha1.StageTrain}
	samples = jobs.Place{Iteration: 1, Stage: v1alpha1.StageSample}
)

// jobOf pods with one GPU each, so many at a time.
func jobOf(least, most int) *batchv1.Job {
	job := &batchv1.Job{Spec: batchv1.JobSpec{Parallelism: ptr.To(int32(most)), Completions: ptr.To(int32(most)), Template: corev1.PodTemplateSpec{
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: gpusOf(1)}}}},
	}}}
	job.Annotations = map[string]string{v1alpha1.AnnotationMinParallel: strconv.Itoa(least), v1alpha1.AnnotationMaxParallel: strconv.Itoa(most)}
	return job
}

func gpusOf(n int64) corev1.ResourceList {
	return corev1.ResourceList{gpu: *resource.NewQuantity(n, resource.DecimalSI)}
}

// fourGPUs are a quota of which so many are used.
func fourGPUs(used int64) *quota.Room {
	counted := func(n int64) corev1.ResourceList {
		return corev1.ResourceList{"requests." + gpu: *resource.NewQuantity(n, resource.DecimalSI)}
	}
	return quota.New([]corev1.ResourceQuota{{
		ObjectMeta: metav1.ObjectMeta{Name: "team-a"}, Status: corev1.ResourceQuotaStatus{Hard: counted(4), Used: counted(used)},
	}}, nil)
}

// waiting is a stage in line that wants so many pods.
func waiting(own bool, at jobs.Place, pods int32) Waiter {
	job := jobOf(1, 1)
	return Waiter{Own: own, Place: at, Demand: quota.Demand{Ask: quota.Ask{Pod: &job.Spec.Template.Spec, Job: true}, Pods: pods}}
}

// TestLine: a stage that is to begin takes what those leave that have waited for longer.
func TestLine(t *testing.T) {
	const full = `ResourceQuota "team-a" lacks 1 requests.nvidia.com/gpu (4 of 4 used, 1 needed)`
	other := func(pods int32) Waiter { return waiting(false, samples, pods) }
	mine := waiting(true, trains, 1)
	tests := []struct {
		name string
		used int64
		line []Waiter
		// pods of the new Job; none while it waits, which it says.
		pods int32
		says string
	}{
		{"nobody waits", 2, nil, 2, "2 of 3 pods at a time, for want of quota"},
		{"it is its turn", 3, []Waiter{mine, other(1)}, 1, "1 of 3 pods at a time, for want of quota"},
		{"it comes last", 3, []Waiter{other(1)}, 0, full},
		{"others wait for longer", 3, []Waiter{other(1), mine}, 0, full},
		{"what they do not need", 2, []Waiter{other(1), mine}, 1, "1 of 3 pods at a time, for want of quota"},
		{"room is kept until there is enough for them", 3, []Waiter{other(2), mine}, 0, full},
		{"nothing is kept for what can never be", 3, []Waiter{other(5), mine}, 1, "1 of 3 pods at a time, for want of quota"},
		{"another stage of its own does not hold it up", 3, []Waiter{waiting(true, samples, 1)}, 1, "1 of 3 pods at a time, for want of quota"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, job := newSpace(&Base{Room: fourGPUs(tt.used), Line: tt.line}), jobOf(1, 3)
			says, fits := s.place(job, trains)
			if fits != (tt.pods > 0) || fits && *job.Spec.Parallelism != tt.pods || says != tt.says {
				t.Errorf("fits %v, %d pods, says %q", fits, *job.Spec.Parallelism, says)
			}
			if stands := len(s.waiting) == 1 && s.waiting[0].Own && s.waiting[0].Place == trains && s.waiting[0].Demand.Pods == 1; stands == fits {
				t.Errorf("in line: %+v", s.waiting)
			}
		})
	}
}

// TestQueuedJobs: a Job for a queue is created, as wide as it is, once there is room for what the queue may admit at least.
func TestQueuedJobs(t *testing.T) {
	tests := []struct {
		name string
		// used GPUs, of which a queue has lent some.
		used int64
		lent int32
		job  func(*batchv1.Job)
		says string
	}{
		{"room for all", 1, 0, nil, ""},
		{"room for some, which the queue does not know", 2, 0, nil, `ResourceQuota "team-a" lacks 1 requests.nvidia.com/gpu (2 of 4 used, 3 needed)`},
		{"room for as few as it may be admitted with", 2, 0, func(j *batchv1.Job) { j.Annotations = map[string]string{"kueue.x-k8s.io/job-min-parallelism": "2"} }, ""},
		{"used by those whom the queue admitted", 4, 4, nil, ""},
		{"more than there will ever be", 0, 0, func(j *batchv1.Job) { j.Spec.Parallelism = ptr.To(int32(5)) },
			`the stage can never fit ResourceQuota "team-a": it asks for 5 requests.nvidia.com/gpu, and the limit is 4 in all`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			job := jobOf(1, 3)
			job.Annotations, job.Spec.Suspend = nil, ptr.To(true)
			job.Labels = map[string]string{"kueue.x-k8s.io/queue-name": "gpus"}
			if tt.job != nil {
				tt.job(job)
			}
			wide, room := *job.Spec.Parallelism, fourGPUs(tt.used)
			room.Lend(quota.Ask{Pod: &job.Spec.Template.Spec}, tt.lent)
			says, fits := newSpace(&Base{Room: room}).place(job, samples)
			if says != tt.says || fits != (says == "") || *job.Spec.Parallelism != wide {
				t.Errorf("fits %v, %d pods, says %q\nwant %q", fits, *job.Spec.Parallelism, says, tt.says)
			}
		})
	}
}

// TestWhatRunsGetsWiderAfterThoseThatWait: a Job with pods takes no more while another has none.
func TestWhatRunsGetsWiderAfterThoseThatWait(t *testing.T) {
	for name, tt := range map[string]struct {
		line []Waiter
		want int32
	}{"nobody waits": {nil, 3}, "somebody waits": {[]Waiter{waiting(false, samples, 1)}, 2}} {
		t.Run(name, func(t *testing.T) {
			job := jobOf(1, 3)
			job.Spec.Parallelism = ptr.To(int32(1))
			child := Child{Object: job, Place: trains, Size: jobs.Size{Bounds: jobs.BoundsOf(job), Now: 1, Live: 1}}
			child.Outcome.State = jobs.Active
			s := newSpace(&Base{Room: fourGPUs(2), Line: tt.line, Children: []Child{child}})
			if len(s.resize) != 1 || s.resize[0].Parallelism != tt.want || len(s.waiting) > 0 {
				t.Errorf("resized %+v, in line %+v", s.resize, s.waiting)
			}
		})
	}
}
