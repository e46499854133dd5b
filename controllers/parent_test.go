package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// reserving is a run that reserves as a whole, and the Workload that was made for a scheduling and admitted.
func reserving(t *testing.T, asks, made *v1alpha1.SchedulingSpec) (*v1alpha1.AlignmentRun, *unstructured.Unstructured) {
	t.Helper()
	run := &v1alpha1.AlignmentRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "run", UID: "u"},
		Spec:       v1alpha1.AlignmentRunSpec{Scheduling: asks}, Status: v1alpha1.AlignmentRunStatus{Runtime: &v1alpha1.RuntimeSnapshot{}},
	}
	stage := v1alpha1.StageTemplate{Shards: 1, Resources: &corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}}}
	workload, why := jobs.Reserve(jobs.Asked{
		Owner:      jobs.Owner{Kind: "AlignmentRun", Namespace: run.Namespace, Name: run.Name, UID: run.UID, Run: run.Name},
		Scheduling: made, Version: "v1beta2",
	}, []jobs.Work{{Spec: contract.Spec{Stage: contract.Sample}, Runtime: &v1alpha1.AlignmentRuntimeSpec{Sample: stage}, Scheduling: made}})
	if why != "" {
		t.Fatal(why)
	}
	workload.Object["status"] = map[string]any{
		"admission":  map[string]any{"podSetAssignments": []any{map[string]any{"name": "main", "count": int64(1)}}},
		"conditions": []any{map[string]any{"type": "Admitted", "status": "True"}},
	}
	return run, workload
}

// engineWithKueue is an engine of a cluster in which Kueue is served as v1beta2.
func engineWithKueue(funcs interceptor.Funcs, objects ...client.Object) *Engine {
	server := fake.NewClientBuilder().WithScheme(Scheme()).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
	return &Engine{Client: server, Live: server, Clock: clock.RealClock{}, Kueue: &Kueue{clock: clock.RealClock{}, version: "v1beta2"}}
}

// A batch tracks on its run's reservation when that is the one that the run asks for now; one that is about to be replaced is none.
func TestBatchTracksOnTheReservationThatItsRunAsksFor(t *testing.T) {
	now := &v1alpha1.SchedulingSpec{QueueName: "gpus", Reservation: v1alpha1.ReservationRun}
	before := &v1alpha1.SchedulingSpec{QueueName: "small-gpus", Reservation: v1alpha1.ReservationRun}
	for name, c := range map[string]struct {
		made *v1alpha1.SchedulingSpec
		has  bool
	}{"it was made for what the run asks for": {now, true}, "it was made for another queue": {before, false}} {
		t.Run(name, func(t *testing.T) {
			run, workload := reserving(t, now, c.made)
			e := engineWithKueue(interceptor.Funcs{}, run, workload)
			batch := &v1alpha1.ScoringBatch{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "batch", OwnerReferences: []metav1.OwnerReference{
				{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AlignmentRun", Name: run.Name, UID: run.UID, Controller: ptr.To(true)},
			}}}
			parent, err := e.parent(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			if has := parent.Reserved != nil; has != c.has {
				t.Errorf("the batch has a reservation: %v", has)
			}
		})
	}
}
