package plan

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// kueue plays Kueue for a run that is reserved for as a whole.
type kueue struct {
	// workload of the run; nil while there is none.
	workload *unstructured.Unstructured
	// prompt says that it admits at once, and absent that it is not installed.
	prompt, absent bool
	// takes says why no run may have a reservation; empty where it may.
	takes string
}

// withKueue has the run reserve for its stages as a whole: four pods of one GPU each, two of which are worth starting with.
func (w *world) withKueue() *kueue {
	one := &corev1.ResourceRequirements{Limits: corev1.ResourceList{gpu: resource.MustParse("1"), "memory": resource.MustParse("8Gi")}}
	s := &w.runtime.Spec
	s.Sample.Resources, s.Track.Resources, s.Train.Resources, s.Sample.Shards = one, one, one, 4
	w.run.Spec.Training.GPUsPerNode = 2
	w.run.Spec.Scheduling = &v1alpha1.SchedulingSpec{
		QueueName: "gpus", Reservation: v1alpha1.ReservationRun, Sample: &v1alpha1.StageScheduling{MinParallel: 1}, Track: &v1alpha1.StageScheduling{MinParallel: 1},
	}
	w.kueue = &kueue{prompt: true}
	return w.kueue
}

// seen is what the operator reads of it.
func (k *kueue) seen() *jobs.Reservation {
	r := &jobs.Reservation{Version: "v1beta2", Known: true, Problem: k.takes}
	if k.absent {
		return &jobs.Reservation{Queue: jobs.Queue{Absent: true}}
	}
	if k.workload != nil {
		r.See(k.workload.DeepCopy())
	}
	if r.Reserved != nil {
		r.Reserved.NodeLabels = map[string]string{"example.com/gpu": "h100"}
	}
	return r
}

func (k *kueue) admitted() bool { return k.seen().Reserved != nil }

// reserved says that the run has what it asks for now.
func (w *world) reserved() bool {
	r := w.kueue.seen()
	return r.Reserved != nil && r.MadeFor(jobs.Asked{Scheduling: w.run.Spec.Scheduling})
}

// conditions of the Workload, as pairs of a type and "True", or "False" and a reason and a message.
func (k *kueue) conditions(list ...[4]string) {
	status, _ := k.workload.Object["status"].(map[string]any)
	if status == nil {
		status = map[string]any{}
	}
	var conditions []any
	for _, c := range list {
		conditions = append(conditions, map[string]any{"type": c[0], "status": c[1], "reason": c[2], "message": c[3], "lastTransitionTime": "2026-01-01T00:00:00Z"})
	}
	status["conditions"] = conditions
	k.workload.Object["status"] = status
}

// admit gives so many pods.
func (w *world) admit(pods int64) {
	w.remark("Kueue admits %d pods", pods)
	k := w.kueue
	k.conditions([4]string{"QuotaReserved", "True", "QuotaReserved", ""}, [4]string{"Admitted", "True", "Admitted", ""})
	k.workload.Object["status"].(map[string]any)["admission"] = map[string]any{"clusterQueue": "a", "podSetAssignments": []any{
		map[string]any{"name": "main", "count": pods, "flavors": map[string]any{"nvidia.com/gpu": "h100"}},
	}}
}

// admitAll gives what a Workload that waits asks for.
func (w *world) admitAll() {
	k := w.kueue
	if k.workload == nil || k.admitted() || k.seen().TakenBack() {
		return
	}
	podSets, _, _ := unstructured.NestedSlice(k.workload.Object, "spec", "podSets")
	w.admit(podSets[0].(map[string]any)["count"].(int64))
}

// takeBack evicts the Workload: it holds its quota until the run gives it back.
func (w *world) takeBack(reason, message string) {
	w.remark("Kueue evicts it: %s", reason)
	w.kueue.conditions([4]string{"QuotaReserved", "True", "QuotaReserved", ""}, [4]string{"Admitted", "True", "Admitted", ""}, [4]string{"Evicted", "True", reason, message})
}

// reserve applies what a plan decides of the Workload.
func (w *world) reserve(next Next[v1alpha1.AlignmentRunStatus]) {
	w.t.Helper()
	for _, o := range next.Create {
		if u, ok := o.(*unstructured.Unstructured); ok {
			if w.kueue.workload != nil {
				w.t.Fatalf("a second Workload is created:\n%s", w.trace.String())
			}
			podSets, _, _ := unstructured.NestedSlice(u.Object, "spec", "podSets")
			podSet := podSets[0].(map[string]any)
			least := ""
			if n, ok := podSet["minCount"]; ok {
				least = fmt.Sprintf(", at least %d", n)
			}
			w.log("create a reservation of %d pods%s", podSet["count"], least)
			w.kueue.workload = u.DeepCopy()
		}
	}
	for _, o := range next.Delete {
		if _, ok := o.(*unstructured.Unstructured); ok {
			w.checkFree("deleted")
			w.log("delete the reservation")
			w.kueue.workload = nil
		}
	}
	if next.GiveBack != nil {
		w.checkFree("given back")
		w.log("give the reservation back")
		w.kueue.workload = next.GiveBack.(*unstructured.Unstructured).DeepCopy()
	}
}

// checkFree: nobody else gets the GPUs while a pod of the run is on them.
func (w *world) checkFree(what string) {
	w.t.Helper()
	for _, c := range w.children {
		if w.holdsGPU(c) && !c.Outcome.Lost {
			w.t.Fatalf("the reservation is %s while %s has pods:\n%s", what, placed(c.Place), w.trace.String())
		}
	}
}

// checkReserved: a stage on GPUs starts within the reservation, and alone.
func (w *world) checkReserved(next Next[v1alpha1.AlignmentRunStatus]) {
	w.t.Helper()
	var starting []jobs.Place
	for _, o := range withoutWorkload(next.Create) {
		if p := placeOf(o); onGPUs(&Child{Object: o, Place: p}) && o.GetObjectKind().GroupVersionKind().Kind != "Service" {
			starting = append(starting, p)
		}
	}
	if len(starting) == 0 {
		return
	}
	if !w.reserved() || len(starting) > 1 {
		w.t.Fatalf("%v start, reserved=%t:\n%s", starting, w.reserved(), w.trace.String())
	}
	for _, c := range w.children {
		if w.holdsGPU(c) && !c.Outcome.Lost {
			w.t.Fatalf("%s starts beside %s:\n%s", placed(starting[0]), placed(c.Place), w.trace.String())
		}
	}
}

func withoutWorkload(objects []Object) []Object {
	return slices.DeleteFunc(slices.Clone(objects), func(o Object) bool {
		_, ok := o.(*unstructured.Unstructured)
		return ok
	})
}

// startedIn is what the pods of a stage's Job get of a reservation: how many there are, and where.
func (w *world) startedIn(stage v1alpha1.StageName) (parallelism int32, nodes map[string]string, reservation string) {
	job := w.startedJob(stage)
	return *job.Spec.Parallelism, job.Spec.Template.Spec.NodeSelector, job.Annotations[v1alpha1.AnnotationReservation]
}
