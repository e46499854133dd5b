package jobs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/contract"
	"github.com/spatialalign/operator/internal/jobs"
)

// asking is a run's sampling, tracking and training, with one reservation for all, and GPUs, cpu and memory of a pod of each.
func asking(s v1alpha1.SchedulingSpec, nodes int32, sample, track, train [3]string) []jobs.Work {
	runtime := *everyStage()["train"].Runtime.DeepCopy()
	s.QueueName, s.Reservation = "gpus", v1alpha1.ReservationRun
	pods := func(of [3]string) *corev1.ResourceRequirements {
		return &corev1.ResourceRequirements{
			Limits:   corev1.ResourceList{"nvidia.com/gpu": resource.MustParse(of[0]), corev1.ResourceMemory: resource.MustParse(of[2])},
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(of[1])},
		}
	}
	runtime.Sample = v1alpha1.StageTemplate{Shards: 4, Resources: pods(sample)}
	runtime.Track = v1alpha1.StageTemplate{Shards: 2, Resources: pods(track)}
	runtime.Train = v1alpha1.StageTemplate{Resources: pods(train)}
	var works []jobs.Work
	for _, stage := range []contract.Stage{contract.Sample, contract.Track, contract.Train} {
		works = append(works, jobs.Work{Spec: contract.Spec{Stage: stage}, Runtime: &runtime, Scheduling: &s, Nodes: nodes})
	}
	return works
}

func asked(works []jobs.Work, version string) jobs.Asked {
	return jobs.Asked{
		Owner:      jobs.Owner{Kind: "AlignmentRun", Namespace: "team-a", Name: "first.run", UID: "5f9a", Run: "first.run"},
		Scheduling: works[0].Scheduling, Version: version, Priority: ptr.To(int32(1000)),
	}
}

// A reservation is as large as the largest stage in everything, and no smaller than every stage can start in.
func TestReservationsSize(t *testing.T) {
	one := [3]string{"1", "4", "32Gi"}
	tests := []struct {
		name                 string
		scheduling           v1alpha1.SchedulingSpec
		nodes                int32
		sample, track, train [3]string
		// pods and the least of them, 0 for all; and what each of them counts for.
		pods, least int64
		each        map[string]any
	}{
		{"four pods that sample, all or none", v1alpha1.SchedulingSpec{}, 1, one, one, one, 4, 0,
			map[string]any{"nvidia.com/gpu": "1", "cpu": "4", "memory": "32Gi"}},
		{"some may wait, a training of two GPUs may not", v1alpha1.SchedulingSpec{
			Sample: &v1alpha1.StageScheduling{MinParallel: 1}, Track: &v1alpha1.StageScheduling{MinParallel: 1},
		}, 1, one, one, [3]string{"2", "4", "32Gi"}, 4, 2, map[string]any{"nvidia.com/gpu": "1", "cpu": "4", "memory": "32Gi"}},
		{"a training that is larger", v1alpha1.SchedulingSpec{}, 1, one, one, [3]string{"8", "4", "32Gi"}, 1, 0,
			map[string]any{"nvidia.com/gpu": "8", "cpu": "16", "memory": "128Gi"}}, // sampling needs more of cpu and memory
		{"a training on two nodes", v1alpha1.SchedulingSpec{}, 2, one, one, [3]string{"8", "32", "200Gi"}, 2, 0,
			map[string]any{"nvidia.com/gpu": "8", "cpu": "32", "memory": "200Gi"}},
		{"no more shards than at a time", v1alpha1.SchedulingSpec{Sample: &v1alpha1.StageScheduling{Shards: 16, MaxParallel: 3}}, 1, one,
			[3]string{"1", "5500m", "32Gi"}, one, 3, 0, map[string]any{"nvidia.com/gpu": "1", "cpu": "4", "memory": "32Gi"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			works := asking(tt.scheduling, tt.nodes, tt.sample, tt.track, tt.train)
			w, why := jobs.Reserve(asked(works, "v1beta2"), works)
			if why != "" {
				t.Fatal(why)
			}
			podSets, _, _ := unstructured.NestedSlice(w.Object, "spec", "podSets")
			podSet := podSets[0].(map[string]any)
			containers, _, _ := unstructured.NestedSlice(podSet, "template", "spec", "containers")
			each, _, _ := unstructured.NestedMap(containers[0].(map[string]any), "resources", "requests")
			if least, _ := podSet["minCount"].(int64); len(podSets) != 1 || podSet["count"] != tt.pods || least != tt.least {
				t.Errorf("%d pod sets, the first of %v pods, at least %v", len(podSets), podSet["count"], podSet["minCount"])
			}
			if diff := cmp.Diff(tt.each, each); diff != "" {
				t.Error(diff)
			}
			for _, work := range works {
				work.Owner, work.Place = jobs.Owner{Name: "r", UID: "u"}, jobs.Place{Stage: v1alpha1.StageTrain}
				all := parallelism(work, nil, 0)
				if in := parallelism(work, w, tt.pods); in != all {
					t.Errorf("%s has %d pods in all of it, not %d", work.Spec.Stage, in, all)
				}
				if in := parallelism(work, w, max(tt.least, 1)); in < 1 || in > all {
					t.Errorf("%s has %d pods in the least of it", work.Spec.Stage, in)
				}
			}
		})
	}
}

// parallelism of a stage's Job within a Workload of which Kueue admitted so many pods; nil for no Workload.
func parallelism(work jobs.Work, w *unstructured.Unstructured, pods int64) int32 {
	if w != nil {
		r := &jobs.Reservation{}
		r.See(admittedTo(w.DeepCopy(), pods))
		work.Reserved = r.Reserved
	}
	return *jobs.Build(work).Spec.Parallelism
}

// Pods of which fewer were admitted share what there is by what each of them needs.
func TestPodsWithinAReservation(t *testing.T) {
	some := &v1alpha1.StageScheduling{MinParallel: 1}
	works := asking(v1alpha1.SchedulingSpec{Sample: some, Track: some}, 1, [3]string{"1", "4", "32Gi"}, [3]string{"2", "4", "32Gi"}, [3]string{"2", "4", "32Gi"})
	w, _ := jobs.Reserve(asked(works, "v1beta2"), works)
	for admitted, want := range map[int64][]int32{4: {4, 2, 1}, 3: {3, 1, 1}, 2: {2, 1, 1}} {
		for i, work := range works {
			if got := parallelism(work, w, admitted); got != want[i] {
				t.Errorf("with %d pods admitted, %s has %d at a time, want %d", admitted, work.Spec.Stage, got, want[i])
			}
		}
	}
}

// admittedTo plays Kueue.
func admittedTo(w *unstructured.Unstructured, pods int64, conditions ...string) *unstructured.Unstructured {
	var list []any
	for _, kind := range append([]string{"QuotaReserved", "Admitted"}, conditions...) {
		list = append(list, map[string]any{"type": kind, "status": "True", "reason": "Preempted", "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"})
	}
	w.Object["status"] = map[string]any{"conditions": list, "requeueState": map[string]any{"count": int64(1)}, "admission": map[string]any{
		"clusterQueue": "a", "podSetAssignments": []any{map[string]any{
			"name": "main", "count": pods, "flavors": map[string]any{"nvidia.com/gpu": "h100", "cpu": "plain", "memory": "plain"},
		}},
	}}
	return w
}

// What a Workload is called, whose it is, and how urgent, in both versions of Kueue's API.
func TestReservationsWorkload(t *testing.T) {
	works := asking(v1alpha1.SchedulingSpec{WorkloadPriorityClassName: "urgent"}, 1, [3]string{"1", "1", "1Gi"}, [3]string{"1", "1", "1Gi"}, [3]string{"1", "1", "1Gi"})
	for version, want := range map[string]map[string]any{
		"v1beta1": {"priorityClassName": "urgent", "priorityClassSource": "kueue.x-k8s.io/workloadpriorityclass"},
		"v1beta2": {"priorityClassRef": map[string]any{"group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": "urgent"}},
	} {
		a := asked(works, version)
		w, _ := jobs.Reserve(a, works)
		spec := w.Object["spec"].(map[string]any)
		delete(spec, "podSets")
		want["queueName"], want["priority"] = "gpus", int64(1000)
		if diff := cmp.Diff(want, spec); diff != "" {
			t.Errorf("%s: %s", version, diff)
		}
		owner := metav1.GetControllerOf(w)
		if w.GetAPIVersion() != "kueue.x-k8s.io/"+version || w.GetNamespace() != "team-a" || w.GetName() != jobs.ReservationName("first.run", "5f9a") || owner == nil || owner.UID != "5f9a" {
			t.Errorf("%s: it is %v", version, w.Object["metadata"])
		}
		other := *a.Scheduling
		other.QueueName = "others"
		r := &jobs.Reservation{}
		r.See(w)
		if anew := (jobs.Asked{Scheduling: &other}); !r.MadeFor(a) || r.MadeFor(anew) {
			t.Errorf("%s: it does not tell what it was made for", version)
		}
	}
	if name := jobs.ReservationName(strings.Repeat("x", 63), "5f9a"); len(name) > 63 || !strings.HasSuffix(name, "-reservation") {
		t.Errorf("a long name becomes %s", name)
	}
}

// What is reserved was admitted: a new Job does not wait for quota while its pods are still to come. If Kueue suspends it all the
// same, the reservation is of no use.
func TestJobsUnderAReservation(t *testing.T) {
	w := everyStage()["train"]
	w.Reserved = &jobs.Reserved{Workload: "first-run-reservation", Pods: 1}
	job := jobs.Build(w)
	job.CreationTimestamp = metav1.NewTime(now.Add(-2 * time.Second))
	o, _ := jobs.Read(job, nil, now, counted)
	if o.Queued || jobs.InQueue(job) {
		t.Errorf("it waits: %+v", o)
	}
	job.Spec.Suspend = ptr.To(true)
	o, _ = jobs.Read(job, nil, now, counted)
	if o = jobs.Enqueued(o, job, jobs.Queue{}, now); o.QueueReason != "" {
		t.Errorf("suspended by a person, it says %s", o.QueueReason)
	}
	inDefaultQueue := job.DeepCopy()
	inDefaultQueue.Labels["kueue.x-k8s.io/queue-name"] = "default"
	for _, seen := range []jobs.Outcome{
		jobs.Enqueued(o, job, jobs.Queue{Workload: &jobs.Workload{}}, now), jobs.Enqueued(o, inDefaultQueue, jobs.Queue{}, now),
	} {
		if seen.QueueReason != v1alpha1.ReasonQueueForced || !strings.Contains(seen.Message, "runs under the run's reservation first-run-reservation and Kueue has suspended it") {
			t.Errorf("says %s: %s", seen.QueueReason, seen.Message)
		}
	}
}

// Nodes and taints of a reservation are those that suit all stages.
func TestReservationsNodes(t *testing.T) {
	same := [3]string{"1", "1", "1Gi"}
	works := asking(v1alpha1.SchedulingSpec{}, 1, same, same, same)
	runtime := works[0].Runtime
	gpu, spot := v1alpha1.Toleration{Key: "gpu", Operator: "Exists"}, v1alpha1.Toleration{Key: "spot", Operator: "Exists"}
	runtime.Sample.Tolerations, runtime.Track.Tolerations, runtime.Train.Tolerations = []v1alpha1.Toleration{gpu, spot}, []v1alpha1.Toleration{spot, gpu}, []v1alpha1.Toleration{gpu}
	runtime.Sample.NodeSelector, runtime.Train.NodeSelector = map[string]v1alpha1.LabelValue{"zone": "a"}, map[string]v1alpha1.LabelValue{"zone": "a", "gpu": "h100"}
	w, why := jobs.Reserve(asked(works, "v1beta2"), works)
	if why != "" {
		t.Fatal(why)
	}
	podSets, _, _ := unstructured.NestedSlice(w.Object, "spec", "podSets")
	nodes, _, _ := unstructured.NestedStringMap(podSets[0].(map[string]any), "template", "spec", "nodeSelector")
	tolerations, _, _ := unstructured.NestedSlice(podSets[0].(map[string]any), "template", "spec", "tolerations")
	if diff := cmp.Diff(map[string]string{"zone": "a", "gpu": "h100"}, nodes); diff != "" || len(tolerations) != 1 {
		t.Errorf("%s, %v", diff, tolerations)
	}
	runtime.Track.NodeSelector = map[string]v1alpha1.LabelValue{"gpu": "l40s"}
	if _, why = jobs.Reserve(asked(works, "v1beta2"), works); !strings.Contains(why, "nodes of different gpu") {
		t.Errorf("says %q", why)
	}
	runtime.Track.NodeSelector, runtime.Track.ResourceClaims = nil, []v1alpha1.StageResourceClaim{{Name: "gpu", ResourceClaimTemplateName: "one"}}
	if _, why = jobs.Reserve(asked(works, "v1beta2"), works); !strings.Contains(why, "stage track get devices by ResourceClaims") {
		t.Errorf("says %q", why)
	}
}

// Only what Kueue has admitted, and does not want back, may be used.
func TestReserved(t *testing.T) {
	same := [3]string{"1", "1", "1Gi"}
	works := asking(v1alpha1.SchedulingSpec{}, 1, same, same, same)
	fresh := func() *unstructured.Unstructured {
		w, _ := jobs.Reserve(asked(works, "v1beta2"), works)
		return w
	}
	deleted, inactive, spoilt, strange := admittedTo(fresh(), 4), admittedTo(fresh(), 4), admittedTo(fresh(), 4), admittedTo(fresh(), 4)
	deleted.SetDeletionTimestamp(ptr.To(metav1.NewTime(now)))
	inactive.Object["spec"].(map[string]any)["active"] = false
	spoilt.Object["status"].(map[string]any)["admission"] = "all of it"
	strange.Object["status"].(map[string]any)["admission"] = map[string]any{"grants": []any{}}
	for name, tt := range map[string]struct {
		workload                    *unstructured.Unstructured
		reserved, takenBack, isOver bool
	}{
		"new": {fresh(), false, false, false}, "admitted": {admittedTo(fresh(), 4), true, false, false},
		"evicted": {admittedTo(fresh(), 4, "Evicted"), false, true, false}, "finished": {admittedTo(fresh(), 4, "Finished"), false, false, true},
		"deleted": {deleted, false, false, false}, "deactivated": {inactive, false, false, false}, "spoilt": {spoilt, false, false, false},
		"strange": {strange, false, false, false},
	} {
		r := &jobs.Reservation{}
		flavours := r.See(tt.workload)
		if (r.Reserved != nil) != tt.reserved || r.TakenBack() != tt.takenBack || r.Over() != tt.isOver {
			t.Errorf("%s: reserved %+v, taken back %t, over %t", name, r.Reserved, r.TakenBack(), r.Over())
		}
		if unclear := name == "spoilt" || name == "strange"; r.Unclear != unclear {
			t.Errorf("%s: unclear %t", name, r.Unclear)
		}
		if tt.reserved && cmp.Diff([]string{"h100", "plain"}, flavours) != "" {
			t.Errorf("%s: the flavours are %v", name, flavours)
		}
	}
}

// What is given back looks as Kueue leaves the Workload of a Job: without admission, queued again if it was preempted.
func TestGivenBack(t *testing.T) {
	same := [3]string{"1", "1", "1Gi"}
	works := asking(v1alpha1.SchedulingSpec{}, 1, same, same, same)
	w, _ := jobs.Reserve(asked(works, "v1beta2"), works)
	r := &jobs.Reservation{}
	r.See(admittedTo(w, 4, "Evicted"))
	given := r.GivenBack(metav1.NewTime(now.Add(time.Hour)))
	var after jobs.Reservation
	after.See(given)
	for kind, want := range map[string]metav1.ConditionStatus{"QuotaReserved": "False", "Admitted": "False", "Evicted": "True", "Requeued": "True"} {
		found := false
		for _, c := range after.Workload.Conditions {
			found = found || c.Type == kind && c.Status == want
		}
		if !found {
			t.Errorf("%s is not %s", kind, want)
		}
	}
	if _, kept, _ := unstructured.NestedMap(given.Object, "status", "requeueState"); after.Workload.Admission != nil || after.TakenBack() || !kept {
		t.Errorf("it is given back with %v", given.Object["status"])
	}
	if reason, message := after.Waiting("gpus"); reason != "Preempted" || message != "reservation for the whole run, queue gpus: Preempted: m" {
		t.Errorf("says %s: %s", reason, message)
	}
}
