package plan

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

func (w *world) limit(l v1alpha1.RuntimeLimits) {
	w.remark("limits: %+v", l)
	w.runtime.Spec.Limits = &l
}

// TestPolicy plays what becomes of runs whose runtime is withdrawn, or asks for less than they want.
func TestPolicy(t *testing.T) {
	withdraw := func(w *world) {
		w.remark("the runtime lists another namespace only")
		w.runtime.Spec.AllowedNamespaces = []string{"team-b"}
	}
	allow := func(w *world) {
		w.remark("the runtime lists the namespace again")
		w.runtime.Spec.AllowedNamespaces = []string{"team-b", "team-a"}
	}
	playTraces(t, []trace{
		{name: "policy-withdrawn-while-training", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			withdraw(w)
			w.steps(2)
			w.remark("what runs ends")
			w.succeed(w.child(v1alpha1.StageTrain))
			w.steps(2)
			allow(w)
			w.settle()
		}},
		{name: "policy-withdrawn-and-the-attempt-fails", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			withdraw(w)
			w.fail(v1alpha1.StageTrain, "Storage", false)
			w.steps(2)
			allow(w)
			w.settle()
		}},
		{name: "policy-withdrawn-and-the-stage-fails-for-good", script: rising, play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			withdraw(w)
			w.fail(v1alpha1.StageTrain, "Mismatch", true)
		}},
		{name: "policy-withdrawn-and-suspended", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			withdraw(w)
			w.step()
			w.run.Spec.Suspend = ptr.To(true)
			w.steps(2)
			w.run.Spec.Suspend = nil
			w.steps(2)
			allow(w)
			w.settle()
		}},
		{name: "policy-withdrawn-and-the-budget-spent", script: rising, edit: budget("1.5", ""), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			withdraw(w)
			w.step()
			w.remark("training takes two hours")
			w.pass(7200)
			w.steps(2)
			w.raise("9")
			w.steps(2)
			w.run.Spec.Iterations = 1
			allow(w)
			w.settle()
		}},
		{name: "policy-runtime-deleted", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageTrain)
			w.remark("the runtime is deleted")
			w.runtime = nil
			w.settle()
		}},
		{name: "policy-limits-before-the-run", script: rising, play: func(w *world) {
			w.limit(v1alpha1.RuntimeLimits{Iterations: 2})
			w.steps(2)
			w.remark("iterations: 2")
			w.run.Spec.Iterations = 2
			w.until(1, v1alpha1.StageSample)
		}},
		{name: "policy-limits-lowered", script: rising, play: func(w *world) {
			w.until(2, v1alpha1.StageSample)
			w.limit(v1alpha1.RuntimeLimits{Iterations: 1})
			w.succeed(w.child(v1alpha1.StageSample))
			w.steps(2)
			w.remark("iterations: 1")
			w.run.Spec.Iterations = 1
			w.settle()
		}},
	})
}

// What a run asks for is counted as its pods will be made.
func TestLimits(t *testing.T) {
	gpus := func(n string) *corev1.ResourceRequirements {
		return &corev1.ResourceRequirements{Limits: corev1.ResourceList{"amd.com/gpu": resource.MustParse(n)}}
	}
	only := func(names ...corev1.ResourceName) *corev1.ResourceRequirements {
		r := &corev1.ResourceRequirements{Limits: corev1.ResourceList{}}
		for _, n := range names {
			r.Limits[n] = resource.MustParse("1")
		}
		return r
	}
	all := v1alpha1.RuntimeLimits{Iterations: 3, GPUHours: "100.5", Nodes: 4, GPUsPerStage: 8}
	tests := []struct {
		name  string
		limit v1alpha1.RuntimeLimits
		edit  func(*v1alpha1.AlignmentRunSpec)
		want  string
	}{
		{"at its limits", all, func(*v1alpha1.AlignmentRunSpec) {}, ""},
		{"an iteration too many", all, func(s *v1alpha1.AlignmentRunSpec) { s.Iterations = 4 }, `spec.iterations is 4, and limits.iterations of AlignmentRuntime "synthetic" is 3`},
		{"no budget", all, func(s *v1alpha1.AlignmentRunSpec) { s.Budget = nil }, `spec.budget is missing, and limits.gpuHours of AlignmentRuntime "synthetic" is 100.5`},
		{"too great a budget", all, func(s *v1alpha1.AlignmentRunSpec) { s.Budget.GPUHours = "100.6" }, "spec.budget.gpuHours is 100.6, and limits.gpuHours"},
		{"a shard too many", all, func(s *v1alpha1.AlignmentRunSpec) { s.Scheduling.Sample = &v1alpha1.StageScheduling{Shards: 9} },
			"the pods of stage sample would hold 9 GPUs at a time, and limits.gpusPerStage"},
		{"more shards, not at a time", all, func(s *v1alpha1.AlignmentRunSpec) {
			s.Scheduling.Sample = &v1alpha1.StageScheduling{Shards: 32, MaxParallel: 8}
		}, ""},
		{"more GPUs of a pod", all, func(s *v1alpha1.AlignmentRunSpec) {
			s.Scheduling.Track = &v1alpha1.StageScheduling{Resources: gpus("3")}
		},
			"the pods of stage track would hold 9 GPUs"},
		{"GPUs of a node", all, func(s *v1alpha1.AlignmentRunSpec) { s.Training.GPUsPerNode = 9 }, "the pods of stage train would hold 9 GPUs"},
		{"a node too many", all, func(s *v1alpha1.AlignmentRunSpec) { s.Training.Nodes = 5 }, "spec.training.nodes is 5, and limits.nodes"},
		{"GPUs of all nodes", all, func(s *v1alpha1.AlignmentRunSpec) { s.Training.Nodes, s.Training.GPUsPerNode = 3, 3 }, "the pods of stage train would hold 9 GPUs"},
		{"devices of another name", v1alpha1.RuntimeLimits{}, func(s *v1alpha1.AlignmentRunSpec) {
			s.Scheduling.Sample = &v1alpha1.StageScheduling{Resources: only("nvidia.com/gpu")}
		}, `spec.scheduling.sample.resources asks for nvidia.com/gpu, which AlignmentRuntime "synthetic" neither counts as GPUs nor asks for in its sample.resources`},
		{"requests of another name", all, func(s *v1alpha1.AlignmentRunSpec) {
			s.Scheduling.Train = &v1alpha1.StageScheduling{Resources: &corev1.ResourceRequirements{Requests: only("example.com/nic").Limits}}
		}, "spec.scheduling.train.resources asks for example.com/nic"},
		{"devices that the stage has", all, func(s *v1alpha1.AlignmentRunSpec) {
			s.Scheduling.Sample = &v1alpha1.StageScheduling{Resources: only("example.com/nic")}
		}, ""},
		{"what every container uses", all, func(s *v1alpha1.AlignmentRunSpec) {
			s.Scheduling.Train = &v1alpha1.StageScheduling{Resources: only("cpu", "memory", "ephemeral-storage", "hugepages-2Mi")}
		}, ""},
		{"no limits", v1alpha1.RuntimeLimits{}, func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Budget, s.Training.Nodes, s.Training.GPUsPerNode = 10000, nil, 64, 64
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, rising)
			w.runtime.Spec.Limits, w.runtime.Spec.GPUResourceName = &tt.limit, "amd.com/gpu"
			w.runtime.Spec.Sample = v1alpha1.StageTemplate{Shards: 8, Resources: gpus("1")}
			w.runtime.Spec.Sample.Resources.Requests = only("example.com/nic").Limits
			w.runtime.Spec.Track = v1alpha1.StageTemplate{Shards: 3, PodSettings: v1alpha1.PodSettings{
				ResourceClaims: []v1alpha1.StageResourceClaim{{Name: "gpu", ResourceClaimTemplateName: "two", GPUs: ptr.To(int32(2))}},
			}}
			if strings.Contains(tt.name, "GPUs of a pod") {
				w.runtime.Spec.Track.ResourceClaims = nil
			}
			w.run.Spec.Budget, w.run.Spec.Scheduling = &v1alpha1.BudgetSpec{GPUHours: "100.5"}, &v1alpha1.SchedulingSpec{}
			tt.edit(&w.run.Spec)
			w.step()
			c := meta.FindStatusCondition(w.run.Status.Conditions, v1alpha1.ConditionReconciling)
			switch {
			case tt.want == "" && w.run.Status.Runtime == nil:
				t.Errorf("not accepted: %+v", c)
			case tt.want != "" && (c == nil || c.Reason != v1alpha1.ReasonLimitExceeded || !strings.Contains(c.Message, tt.want) || len(w.children) > 0):
				t.Errorf("condition %+v, %d children; want %q", c, len(w.children), tt.want)
			}
			if s := w.run.Status.Runtime; s != nil && s.Spec.Limits != nil {
				t.Error("the snapshot holds the limits")
			}
		})
	}
}

// A batch without a run above it has the runtime's tracking, and waits until the runtime allows as many GPUs.
func TestLimitsOfBatches(t *testing.T) {
	y := newBatchYard(t)
	y.runtime.Spec.Track.Shards = 4
	y.runtime.Spec.Track.ResourceClaims = []v1alpha1.StageResourceClaim{{Name: "gpu", ResourceClaimTemplateName: "two", GPUs: ptr.To(int32(2))}}
	expect := func(when string, held bool, jobs int) {
		t.Helper()
		y.step()
		c := meta.FindStatusCondition(y.status.Conditions, v1alpha1.ConditionReconciling)
		said := c.Reason == v1alpha1.ReasonLimitExceeded &&
			strings.HasPrefix(c.Message, `the pods of stage track would hold 8 GPUs at a time, and limits.gpusPerStage of AlignmentRuntime "synthetic" is 7`)
		if said != held || len(y.children) != jobs {
			t.Errorf("%s: condition %+v, %d Jobs; want it held: %v, and %d Jobs", when, c, len(y.children), held, jobs)
		}
	}
	seven, eight := &v1alpha1.RuntimeLimits{GPUsPerStage: 7}, &v1alpha1.RuntimeLimits{GPUsPerStage: 8, GPUHours: "1", Iterations: 1, Nodes: 1}

	y.runtime.Spec.Limits = seven
	expect("before it is accepted", true, 0)
	if y.status.Runtime != nil {
		t.Error("the runtime was taken, and with it a number of shards that cannot change")
	}
	y.runtime.Spec.Limits = eight
	expect("at the limit", false, 1)
	y.runtime.Spec.Limits = seven
	y.fail(v1alpha1.StageTrack, "Storage", false)
	expect("lowered, with an attempt that failed", true, 1)
	y.runtime.Spec.Limits = eight
	expect("raised again", false, 2)

	y = newBatchYard(t)
	y.runtime.Spec.Track.Shards, y.runtime.Spec.Limits, y.batch.Spec.Tracking = 4, seven, v1alpha1.TrackingStored
	y.runtime.Spec.Track.ResourceClaims = []v1alpha1.StageResourceClaim{{Name: "gpu", ResourceClaimTemplateName: "two", GPUs: ptr.To(int32(2))}}
	expect("without tracking", false, 1)

	y = newBatchYard(t)
	snapshot := &v1alpha1.RuntimeSnapshot{Spec: *y.runtime.Spec.DeepCopy()}
	y.parent, y.runtime.Spec.Limits = &Parent{Name: "my-run", Runtime: snapshot, StartupDeadlineSeconds: 1800}, seven
	snapshot.Spec.Track.Shards = 8
	snapshot.Spec.Track.ResourceClaims = []v1alpha1.StageResourceClaim{{Name: "gpu", ResourceClaimTemplateName: "one", GPUs: ptr.To(int32(1))}}
	expect("a run's, which is the run's to hold", false, 1)
}

// A run may not count the GPUs of a training that claims them.
func TestClaimedGPUsAreTheRuntimesAlone(t *testing.T) {
	w := newWorld(t, rising)
	w.runtime.Spec.Train.ResourceClaims = []v1alpha1.StageResourceClaim{{Name: "gpu", ResourceClaimTemplateName: "eight", GPUs: ptr.To(int32(8))}}
	w.run.Spec.Training.GPUsPerNode = 4
	w.step()
	c := meta.FindStatusCondition(w.run.Status.Conditions, v1alpha1.ConditionFailed)
	if c == nil || c.Reason != v1alpha1.ReasonInvalidSpec || !strings.Contains(c.Message, "training.gpusPerNode must be left out") {
		t.Errorf("condition %+v", c)
	}
}

// A run that waits for nothing but its runtime's policy is not looked at meanwhile: the runtime is watched.
func TestWithheldRunIsNotPolled(t *testing.T) {
	w := newWorld(t, rising)
	w.until(1, v1alpha1.StageTrain)
	w.runtime.Spec.AllowedNamespaces = nil
	if next := w.step(); next.RequeueAfter == 0 {
		t.Error("nobody looks at the stage that still runs")
	}
	w.succeed(w.child(v1alpha1.StageTrain))
	w.steps(2)
	if next := w.step(); next.RequeueAfter != 0 || w.run.Status.Phase != v1alpha1.PhaseSuspended {
		t.Errorf("phase %s, looked at again after %s", w.run.Status.Phase, next.RequeueAfter)
	}
}
