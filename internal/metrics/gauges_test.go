package metrics_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/metrics"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const gpu = "amd.com/gpu"

// meta of an object in team-a; by is the UID of its owner, empty for none.
func objectMeta(uid, by string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: "team-a", Name: uid, UID: types.UID(uid), CreationTimestamp: metav1.NewTime(noon)}
	if by != "" {
		m.OwnerReferences = []metav1.OwnerReference{{UID: types.UID(by), Controller: ptr.To(true)}}
	}
	return m
}

// run of the runtime wan, accepted, with the GPUs that its runtime names.
func run(uid string, edits ...func(*v1alpha1.AlignmentRun)) v1alpha1.AlignmentRun {
	r := v1alpha1.AlignmentRun{ObjectMeta: objectMeta(uid, "")}
	r.Spec.RuntimeRef.Name = "wan"
	r.Status.Phase, r.Status.Runtime = v1alpha1.PhaseRunning, snapshot()
	for _, edit := range edits {
		edit(&r)
	}
	return r
}

func snapshot() *v1alpha1.RuntimeSnapshot {
	return &v1alpha1.RuntimeSnapshot{Spec: v1alpha1.AlignmentRuntimeSpec{GPUResourceName: gpu}}
}

func spent(seconds int64, budget v1alpha1.Decimal) func(*v1alpha1.AlignmentRun) {
	return func(r *v1alpha1.AlignmentRun) {
		r.Status.GPUSeconds = seconds
		if budget != "" {
			r.Spec.Budget = &v1alpha1.BudgetSpec{GPUHours: budget}
		}
	}
}

// job of a stage with two pods of two GPUs each, and the pods that it has.
func job(uid, by string, stage v1alpha1.StageName, pods ...string) (batchv1.Job, []corev1.Pod) {
	spec := corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{gpu: resource.MustParse("2")}}}}}
	j := batchv1.Job{ObjectMeta: objectMeta(uid, by)}
	j.Labels = map[string]string{v1alpha1.LabelStage: string(stage)}
	j.Spec.Completions, j.Spec.Parallelism, j.Spec.Template.Spec = ptr.To(int32(2)), ptr.To(int32(2)), spec
	var list []corev1.Pod
	for i, phase := range pods {
		p := corev1.Pod{ObjectMeta: objectMeta(fmt.Sprint(uid, i), uid), Spec: spec}
		p.Spec.NodeName, p.Status.Phase = "node", corev1.PodPhase(phase)
		if phase == string(corev1.PodRunning) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "stage", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)}}}}
		}
		list = append(list, p)
	}
	return j, list
}

// A cluster with some of everything.
func TestGauges(t *testing.T) {
	o := metrics.Observed{Now: noon.Add(time.Minute)}
	add := func(j batchv1.Job, pods []corev1.Pod) { o.Jobs, o.Pods = append(o.Jobs, j), append(o.Pods, pods...) }
	unaccepted := run("typo", func(r *v1alpha1.AlignmentRun) {
		r.Spec.RuntimeRef.Name, r.Status = "any-word-at-all", v1alpha1.AlignmentRunStatus{}
	})
	ended := run("ended", spent(3600, "1"), func(r *v1alpha1.AlignmentRun) {
		r.Status.Phase = v1alpha1.PhaseFailed
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue}}
	})
	o.Runs = []v1alpha1.AlignmentRun{run("thrifty", spent(3239, "1")), run("tight", spent(3240, "1")), run("free", spent(9000, "")), ended, unaccepted}
	add(job("j1", "thrifty", v1alpha1.StageSample, "Running", "Running"))
	add(job("j2", "tight", v1alpha1.StageSample, "Running"))
	add(job("j3", "tight", v1alpha1.StageTrain))

	ofRun := v1alpha1.ScoringBatch{ObjectMeta: objectMeta("of-run", "free"), Status: v1alpha1.ScoringBatchStatus{GPUSeconds: 500}}
	alone := v1alpha1.ScoringBatch{ObjectMeta: objectMeta("alone", ""), Status: v1alpha1.ScoringBatchStatus{GPUSeconds: 7, Runtime: snapshot()}}
	alone.Spec.RuntimeRef.Name = "detector"
	o.Batches = []v1alpha1.ScoringBatch{ofRun, alone}
	add(job("j5", "of-run", v1alpha1.StageTrack, "Running", "Pending"))
	add(job("j6", "alone", v1alpha1.StageTrack))
	add(job("j7", "alone", "any-word-at-all", "Running"))
	held, _ := job("", "", v1alpha1.StageTrain)
	o.Held = []metrics.Held{
		{Namespace: "team-a", Owner: "free", Stage: v1alpha1.StageTrain, Pod: &held.Spec.Template.Spec, Pods: 3},
		{Namespace: "team-a", Owner: "of-run", Stage: v1alpha1.StageTrack, Pod: &held.Spec.Template.Spec, Pods: 1},
		{Namespace: "team-a", Owner: "free", Stage: v1alpha1.StagePrepare, Pod: &corev1.PodSpec{}, Pods: 1},
	}

	var got []string
	for _, g := range metrics.Gauges(o) {
		got = append(got, fmt.Sprint(g.Metric, g.Labels, g.Value))
	}
	slices.Sort(got)
	want := []string{
		"spatialalign_gpus_in_use[team-a wan Sample] 6",
		"spatialalign_gpus_in_use[team-a wan Track] 4",
		"spatialalign_gpus_waiting[team-a detector Track] 4",
		"spatialalign_gpus_waiting[team-a wan Sample] 2",
		"spatialalign_gpus_waiting[team-a wan Track] 2",
		"spatialalign_gpus_waiting[team-a wan Train] 10",
		"spatialalign_longest_wait_seconds[team-a detector Track] 60",
		"spatialalign_longest_wait_seconds[team-a wan Train] 60",
		"spatialalign_recorded_gpu_seconds[team-a detector] 7",
		"spatialalign_recorded_gpu_seconds[team-a wan] 19079",
		"spatialalign_runs[team-a  Pending] 1",
		"spatialalign_runs[team-a wan Failed] 1",
		"spatialalign_runs[team-a wan Running] 3",
		"spatialalign_runs_near_budget[team-a wan] 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
