package jobs_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// What a run says of shards, next to a runtime with 4 shards of sample, 2 of track and 1 of train.
func TestSchedulingShards(t *testing.T) {
	tests := []struct {
		name  string
		stage string
		own   v1alpha1.StageScheduling
		// shards, how many of them at a time, and Kueue's minimum.
		shards, parallel int32
		least            string
	}{
		{"nothing", "sample", v1alpha1.StageScheduling{}, 4, 4, ""},
		{"shards", "sample", v1alpha1.StageScheduling{Shards: 16}, 16, 16, ""},
		{"fewer at a time", "sample", v1alpha1.StageScheduling{Shards: 16, MaxParallel: 3}, 16, 3, ""},
		{"fewer of the runtime's at a time", "track", v1alpha1.StageScheduling{MaxParallel: 1}, 2, 1, ""},
		{"never more pods than shards", "sample", v1alpha1.StageScheduling{MaxParallel: 32}, 4, 4, ""},
		{"part of it may be admitted", "sample", v1alpha1.StageScheduling{Shards: 16, MaxParallel: 8, MinParallel: 2}, 16, 8, "2"},
		{"a minimum of all is none", "sample", v1alpha1.StageScheduling{Shards: 2, MinParallel: 2}, 2, 2, ""},
		{"a minimum above the shards is none", "sample", v1alpha1.StageScheduling{Shards: 2, MinParallel: 8}, 2, 2, ""},
		{"training is one pod", "train", v1alpha1.StageScheduling{Shards: 8, MaxParallel: 8, MinParallel: 4}, 1, 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, queue := range []v1alpha1.QueueName{"", "gpu"} {
				w := everyStage()[tt.stage]
				w.Scheduling = &v1alpha1.SchedulingSpec{QueueName: queue, Sample: &tt.own, Track: &tt.own, Train: &tt.own}
				job := jobs.Build(w)
				least := job.Annotations["kueue.x-k8s.io/job-min-parallelism"]
				if *job.Spec.Completions != tt.shards || *job.Spec.Parallelism != tt.parallel {
					t.Errorf("%d shards, %d at a time; want %d, %d", *job.Spec.Completions, *job.Spec.Parallelism, tt.shards, tt.parallel)
				}
				if queue != "" && least != tt.least || queue == "" && least != "" {
					t.Errorf("in queue %q the minimum is %q, want %q", queue, least, tt.least)
				}
			}
		})
	}
}

// Stages that use GPUs wait for their queue, suspended; the operator's own never wait. The priority is every pod's.
func TestSchedulingQueues(t *testing.T) {
	stage := func(queue v1alpha1.QueueName) *v1alpha1.StageScheduling {
		return &v1alpha1.StageScheduling{QueueName: queue}
	}
	tests := []struct {
		name string
		spec *v1alpha1.SchedulingSpec
		want map[string]string // by stage
	}{
		{"none", nil, nil},
		{"a priority alone", &v1alpha1.SchedulingSpec{PriorityClassName: "research"}, nil},
		{"the run's", &v1alpha1.SchedulingSpec{QueueName: "gpu"}, map[string]string{"sample": "gpu", "track": "gpu", "train": "gpu"}},
		{"a stage's before the run's", &v1alpha1.SchedulingSpec{QueueName: "gpu", Train: stage("big")}, map[string]string{"sample": "gpu", "track": "gpu", "train": "big"}},
		{"a stage's alone", &v1alpha1.SchedulingSpec{Track: stage("small")}, map[string]string{"track": "small"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"prepare", "sample", "track", "score", "pair", "train", "compare", "lineage"} {
				w := everyStage()[name]
				w.Scheduling = tt.spec
				job := jobs.Build(w)
				queue := tt.want[name]
				if got := job.Labels["kueue.x-k8s.io/queue-name"]; got != queue || ptr.Deref(job.Spec.Suspend, false) != (queue != "") {
					t.Errorf("%s is in queue %q, suspended %v; want %q", name, got, ptr.Deref(job.Spec.Suspend, false), queue)
				}
				priority := ""
				if tt.spec != nil {
					priority = tt.spec.PriorityClassName
				}
				if got := job.Spec.Template.Spec.PriorityClassName; got != priority {
					t.Errorf("%s has priority class %q, want %q", name, got, priority)
				}
			}
		})
	}
}

// What Kueue alone understands is told to it alone: of a Job in a queue.
func TestSchedulingWordsToKueue(t *testing.T) {
	const rack = "topology.example.com/rack"
	required := &v1alpha1.StageScheduling{Topology: &v1alpha1.TopologySpec{Required: rack}}
	preferred := &v1alpha1.StageScheduling{Topology: &v1alpha1.TopologySpec{Preferred: rack}}
	for _, queue := range []v1alpha1.QueueName{"", "gpu"} {
		for stage, want := range map[string]map[string]string{
			"train":  {"kueue.x-k8s.io/podset-required-topology": rack},
			"sample": {"kueue.x-k8s.io/podset-preferred-topology": rack},
			"track":  {},
			"pair":   {},
		} {
			w := everyStage()[stage]
			w.Scheduling = &v1alpha1.SchedulingSpec{QueueName: queue, WorkloadPriorityClassName: "urgent", Train: required, Sample: preferred}
			job := jobs.Build(w)
			priority := "urgent"
			if queue == "" || stage == "pair" {
				want, priority = map[string]string{}, ""
			}
			got := map[string]string{}
			for name, value := range job.Spec.Template.Annotations {
				if strings.HasPrefix(name, "kueue.x-k8s.io/") {
					got[name] = value
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s in queue %q: %s", stage, queue, diff)
			}
			if got := job.Labels["kueue.x-k8s.io/priority-class"]; got != priority {
				t.Errorf("%s in queue %q has workload priority %q, want %q", stage, queue, got, priority)
			}
		}
	}
}

// A run's resources stand for the runtime's, whole; training.gpusPerNode changes the number of GPUs alone.
func TestSchedulingResources(t *testing.T) {
	list := func(gpus string, more ...string) corev1.ResourceList {
		l := corev1.ResourceList{}
		if gpus != "" {
			l[gpu] = resource.MustParse(gpus)
		}
		for _, memory := range more {
			l[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return l
	}
	tests := []struct {
		name, stage string
		own         *corev1.ResourceRequirements
		perNode     int32
		gpuName     string
		want        corev1.ResourceRequirements
	}{
		{"the runtime's", "sample", nil, 0, "", corev1.ResourceRequirements{Limits: list("1", "64Gi")}},
		{"the run's", "sample", &corev1.ResourceRequirements{Limits: list("2")}, 0, "", corev1.ResourceRequirements{Limits: list("2")}},
		{"more GPUs for the training", "train", nil, 8, "", corev1.ResourceRequirements{Limits: list("8", "64Gi")}},
		{"GPUs of the training are not the sampling's", "sample", nil, 8, "", corev1.ResourceRequirements{Limits: list("1", "64Gi")}},
		{"on top of the run's own", "train", &corev1.ResourceRequirements{Limits: list("2", "80Gi"), Requests: list("2")}, 4, gpu,
			corev1.ResourceRequirements{Limits: list("4", "80Gi"), Requests: list("4")}},
		{"requests that name none", "train", &corev1.ResourceRequirements{Requests: list("", "8Gi")}, 4, gpu,
			corev1.ResourceRequirements{Limits: list("4"), Requests: list("", "8Gi")}},
		{"other devices", "train", &corev1.ResourceRequirements{}, 4, "amd.com/gpu",
			corev1.ResourceRequirements{Limits: corev1.ResourceList{"amd.com/gpu": resource.MustParse("4")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := everyStage()[tt.stage]
			w.GPUsPerNode, w.Runtime.GPUResourceName = tt.perNode, tt.gpuName
			own := &v1alpha1.StageScheduling{Resources: tt.own}
			w.Scheduling = &v1alpha1.SchedulingSpec{Sample: own, Train: own}
			before := w.Runtime.DeepCopy()
			if diff := cmp.Diff(tt.want, jobs.Build(w).Spec.Template.Spec.Containers[0].Resources); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, w.Runtime); diff != "" {
				t.Errorf("Build changed the runtime: %s", diff)
			}
		})
	}
	w := everyStage()["train"]
	w.Runtime.Train.Resources, w.GPUsPerNode = nil, 2
	if got := jobs.Build(w).Spec.Template.Spec.Containers[0].Resources; !cmp.Equal(got, corev1.ResourceRequirements{Limits: list("2")}) {
		t.Errorf("a runtime without resources: %v", got)
	}
}
