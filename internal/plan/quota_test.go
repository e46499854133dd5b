package plan

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/quota"
)

// TestQuotas plays runs in a namespace with a ResourceQuota of four GPUs, where a sampling has four pods of one GPU each.
func TestQuotas(t *testing.T) {
	prepared := func(w *world) {
		w.withQuota()
		w.step()
		w.succeed(w.child(v1alpha1.StagePrepare))
	}
	playTraces(t, []trace{
		{name: "quota-exhausted", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) { s.Iterations, s.ActiveDeadlineSeconds = 1, 3600 }, play: func(w *world) {
			prepared(w)
			w.others(4)
			w.steps(2)
			w.remark("a day passes, which is no active time")
			w.pass(86400)
			w.step()
			w.others(0)
			w.settle()
		}},
		{name: "quota-fits-partly", script: rising, edit: iterations(1), play: func(w *world) {
			prepared(w)
			w.others(1)
			w.steps(2)
			w.others(0)
			w.steps(2)
			w.remark("the baseline is sampled")
			w.succeed(w.child(v1alpha1.StageEvaluationSample))
			w.steps(2)
			w.settle()
		}},
		{name: "quota-below-the-minimum", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Scheduling = 1, &v1alpha1.SchedulingSpec{Sample: &v1alpha1.StageScheduling{MinParallel: 2, MaxParallel: 3}}
		}, play: func(w *world) {
			prepared(w)
			w.others(3)
			w.step()
			w.others(2)
			w.step()
			w.others(0)
			w.settle()
		}},
		{name: "quota-smaller-than-the-least", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Scheduling = 1, &v1alpha1.SchedulingSpec{Sample: &v1alpha1.StageScheduling{Shards: 8, MinParallel: 6}}
		}, play: func(w *world) {
			prepared(w)
			w.steps(2)
			w.remark("the quota is raised")
			w.quota.hard = 8
			w.steps(2)
		}},
		{name: "quota-taken-before-the-pods-were-created", script: rising, edit: iterations(1), play: func(w *world) {
			prepared(w)
			w.quota.idle = true
			w.step()
			w.others(4)
			w.quota.idle = false
			w.steps(8)
			w.others(2)
			w.steps(2)
			w.others(0)
			w.settle()
		}},
		{name: "quota-taken-from-a-training", script: rising, edit: iterations(1), play: func(w *world) {
			w.withQuota()
			w.until(1, v1alpha1.StageTrain)
			w.others(4)
			w.steps(8)
			w.others(3)
			w.settle()
		}},
		{name: "quota-without-room-for-the-service-of-a-gang", script: rising, edit: onFourNodes, play: func(w *world) {
			w.withQuota().usedUp = corev1.ResourceServices
			w.until(1, v1alpha1.StagePair)
			w.succeed(w.child(v1alpha1.StagePair))
			w.steps(2)
			w.remark("a Service of others is deleted")
			w.quota.usedUp = ""
			w.steps(2)
		}},
		{name: "quota-without-room-for-what-a-queue-is-to-admit", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Scheduling = 1, &v1alpha1.SchedulingSpec{QueueName: "team-a"}
		}, play: func(w *world) {
			prepared(w)
			w.others(1)
			w.steps(2)
			w.others(0)
			w.steps(2)
		}},
		{name: "quota-smaller-than-what-a-queue-is-to-admit", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Scheduling = 1, &v1alpha1.SchedulingSpec{QueueName: "team-a"}
		}, play: func(w *world) {
			w.withQuota().hard = 3
			w.step()
			w.succeed(w.child(v1alpha1.StagePrepare))
			w.steps(2)
			w.remark("the quota is raised")
			w.quota.hard = 4
			w.steps(2)
		}},
		{name: "quota-refuses-what-a-queue-admitted", script: rising, edit: func(s *v1alpha1.AlignmentRunSpec) {
			s.Iterations, s.Scheduling = 1, &v1alpha1.SchedulingSpec{QueueName: "team-a"}
		}, play: func(w *world) {
			w.withQuota()
			w.until(1, v1alpha1.StageTrain)
			w.others(4)
			w.startedJob(v1alpha1.StageTrain).Spec.Suspend = ptr.To(false)
			w.remark("Kueue admits the training")
			w.steps(7)
			w.others(0)
			w.steps(2)
		}},
		{name: "quota-holds-up-a-batch", script: rising, edit: iterations(1), play: func(w *world) {
			w.until(1, v1alpha1.StageScore)
			w.says(v1alpha1.StageScore, jobs.Outcome{
				Queued: true, QueueReason: v1alpha1.ReasonQuotaExceeded, Message: `ResourceQuota "team-a" lacks 1 requests.nvidia.com/gpu (4 of 4 used, 1 needed)`,
			})
			w.steps(2)
			w.settle()
		}},
		{name: "limit-range-refuses-the-first-stage", script: rising, edit: iterations(1), play: func(w *world) {
			w.withQuota().limits = []corev1.LimitRange{{ObjectMeta: metav1.ObjectMeta{Name: "small-pods"}, Spec: corev1.LimitRangeSpec{
				Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}}},
			}}}
			w.steps(2)
			w.remark("the LimitRange is deleted")
			w.quota.limits = nil
			w.until(1, v1alpha1.StageSample)
		}},
	})
}

// What still runs of a run whose runtime is withdrawn ends as soon as the quota allows: its Jobs get wider as any other's.
func TestQuotaOfAWithheldRun(t *testing.T) {
	w := newWorld(t, rising)
	w.withQuota()
	w.step()
	w.succeed(w.child(v1alpha1.StagePrepare))
	w.others(3)
	w.step()
	w.runtime.Spec.AllowedNamespaces = []string{"team-b"}
	if next := w.step(); next.Status.Phase != v1alpha1.PhaseSuspended || !next.WantsRoom {
		t.Fatalf("phase %s, wants room: %t", next.Status.Phase, next.WantsRoom)
	}
	w.others(0)
	w.step()
	if n := *w.startedJob(v1alpha1.StageEvaluationSample).Spec.Parallelism; n != 4 {
		t.Errorf("%d pods at a time when there is room for 4", n)
	}
}

// TestQuotaOfABatch: a batch tells that it waits at once, also one that a run owns; and goes on, as wide as fits.
func TestQuotaOfABatch(t *testing.T) {
	for name, parent := range map[string]*Parent{"alone": nil, "of a run": {Name: "first-run"}} {
		t.Run(name, func(t *testing.T) {
			y := newBatchYard(t)
			y.parent = parent
			y.runtime.Spec.Track.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{gpu: resource.MustParse("1")}}
			q := &gpuQuota{hard: 4, foreign: 4}
			inner := y.plan
			y.plan = func(b Base) Next[v1alpha1.ScoringBatchStatus] {
				q.observe(&b)
				return inner(b)
			}
			next := y.step()
			waiting := meta.FindStatusCondition(next.Status.Conditions, v1alpha1.ConditionQuotaReserved)
			const want = `ResourceQuota "team-a" lacks 1 requests.nvidia.com/gpu (4 of 4 used, 1 needed)`
			if waiting == nil || waiting.Status != metav1.ConditionFalse || waiting.Reason != v1alpha1.ReasonQuotaExceeded || waiting.Message != want {
				t.Fatalf("says %+v", waiting)
			}
			if !meta.IsStatusConditionTrue(next.Status.Conditions, v1alpha1.ConditionReconciling) || len(next.Create) > 0 || next.Deferrable || !next.WantsRoom || next.RequeueAfter > roomInterval {
				t.Errorf("plans %+v", next)
			}
			q.foreign = 3
			next = y.step()
			if len(next.Create) != 1 || !next.WantsRoom || !meta.IsStatusConditionTrue(next.Status.Conditions, v1alpha1.ConditionQuotaReserved) ||
				!meta.IsStatusConditionFalse(next.Status.Conditions, v1alpha1.ConditionReconciling) {
				t.Fatalf("plans %+v", next)
			}
			q.foreign, q.live = 0, map[string]int32{next.Create[0].GetName(): 1}
			next = y.step()
			if len(next.Resize) != 1 || next.Resize[0].Parallelism != 2 || next.WantsRoom {
				t.Errorf("resizes %+v", next.Resize)
			}
		})
	}
}

// A dataset's Job counts in quotas as any other.
func TestQuotaOfADataset(t *testing.T) {
	y := newDatasetYard(t)
	full := corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}, Status: corev1.ResourceQuotaStatus{
		Hard: corev1.ResourceList{"count/jobs.batch": resource.MustParse("1")}, Used: corev1.ResourceList{"count/jobs.batch": resource.MustParse("1")},
	}}
	inner := y.plan
	y.plan = func(b Base) Next[v1alpha1.PreferenceDatasetStatus] {
		b.Room = quota.New([]corev1.ResourceQuota{full}, nil)
		return inner(b)
	}
	next := y.step()
	waiting := meta.FindStatusCondition(next.Status.Conditions, v1alpha1.ConditionQuotaReserved)
	if len(next.Create) > 0 || waiting == nil || !strings.Contains(waiting.Message, "lacks 1 count/jobs.batch") {
		t.Fatalf("creates %d, says %+v", len(next.Create), waiting)
	}
	full.Status.Used["count/jobs.batch"] = resource.MustParse("0")
	if next = y.step(); len(next.Create) != 1 {
		t.Errorf("creates %d when there is room", len(next.Create))
	}
}
