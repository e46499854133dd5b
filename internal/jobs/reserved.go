package jobs

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/spatialalign/operator/api/v1alpha1"
)

// More types of conditions of Kueue's Workload.
const (
	workloadAdmitted = "Admitted"
	workloadFinished = "Finished"
	workloadRequeued = "Requeued"
)

// Admission is what Kueue gave to a Workload.
type Admission struct {
	PodSetAssignments []PodSetAssignment `json:"podSetAssignments,omitempty"`
}

// PodSetAssignment is what the pods of one set got: how many of them, and of which flavour, by resource.
type PodSetAssignment struct {
	Count   *int32                         `json:"count,omitempty"`
	Flavors map[corev1.ResourceName]string `json:"flavors,omitempty"`
}

// Reservation is what is seen of the Workload of a whole run.
type Reservation struct {
	Queue
	// Version of Kueue's API.
	Version string
	// Known says that the API server was asked, so that no Object means that there is none.
	Known bool
	// Object as the API server has it.
	Object *unstructured.Unstructured
	// Unclear says that the Workload may be admitted, in a way that the operator does not understand: no eviction follows from it.
	Unclear bool
	// Reserved is nil while Kueue has not admitted it, or takes it back.
	Reserved *Reserved
	// Priority of the WorkloadPriorityClass that a new one is to have.
	Priority *int32
	// Problem says why the run may not have a reservation. What runs in one goes on to its end.
	Problem string
}

// See reads the Workload of a run, and returns the names of the flavours that it was admitted to.
func (r *Reservation) See(u *unstructured.Unstructured) (flavours []string) {
	r.Known, r.Object, r.Workload = true, u, &Workload{}
	var seen struct {
		Spec struct {
			Active  *bool `json:"active,omitempty"`
			PodSets []struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"podSets,omitempty"`
		} `json:"spec"`
		Status Workload `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &seen); err != nil {
		r.Unclear = true
		return nil
	}
	w := &seen.Status
	r.Workload = w
	if u.GetDeletionTimestamp() != nil || !ptr.Deref(seen.Spec.Active, true) || !w.is(workloadAdmitted) || w.is(workloadEvicted) || w.is(workloadFinished) {
		return nil
	}
	if w.Admission == nil || len(w.Admission.PodSetAssignments) != 1 || len(seen.Spec.PodSets) != 1 || len(seen.Spec.PodSets[0].Template.Spec.Containers) != 1 {
		r.Unclear = true
		return nil
	}
	given := w.Admission.PodSetAssignments[0]
	r.Reserved = &Reserved{
		Workload: u.GetName(), Pods: ptr.Deref(given.Count, 1), Each: seen.Spec.PodSets[0].Template.Spec.Containers[0].Resources.Requests,
	}
	for _, flavour := range given.Flavors {
		flavours = append(flavours, flavour)
	}
	slices.Sort(flavours)
	return slices.Compact(flavours)
}

// On sends the pods to the nodes of one more flavour.
func (r *Reserved) On(labels map[string]string, tolerations []corev1.Toleration) {
	if r.NodeLabels == nil {
		r.NodeLabels = map[string]string{}
	}
	maps.Copy(r.NodeLabels, labels)
	r.Tolerations = append(r.Tolerations, tolerations...)
}

// Waiting says why a run with a Workload, or without one yet, has no reservation.
func (r *Reservation) Waiting(queue v1alpha1.QueueName) (reason, message string) {
	switch {
	case r.Absent:
		return v1alpha1.ReasonKueueNotInstalled, fmt.Sprintf("queue %s cannot reserve for the run: Kueue is not installed in this cluster. "+
			"Install it, or suspend the run and take reservation and queueName out of spec.scheduling", queue)
	case r.Trouble != "":
		return v1alpha1.ReasonQueued, clip(fmt.Sprintf("queue %s: the operator cannot read the run's Workload: %s", queue, r.Trouble))
	case r.Problem != "":
		return v1alpha1.ReasonReservationRefused, r.Problem
	case r.Object != nil && r.Unclear:
		return v1alpha1.ReasonQueued, fmt.Sprintf("reservation for the whole run, queue %s: Workload %s says what this version of the operator does not understand",
			queue, r.Object.GetName())
	}
	if r.Workload != nil {
		if reason, message = r.Workload.waiting(); reason != "" {
			return reason, clip(fmt.Sprintf("reservation for the whole run, queue %s: %s", queue, message))
		}
	}
	return v1alpha1.ReasonQueued, fmt.Sprintf("reservation for the whole run: queue %s has not admitted it", queue)
}

// TakenBack says that Kueue wants the quota back that the Workload holds. It waits until that is given back.
func (r *Reservation) TakenBack() bool {
	return r.Object != nil && r.Workload.is(workloadEvicted) && r.Workload.is(workloadQuotaReserved) && !r.Workload.is(workloadFinished)
}

// Over says that the Workload holds nothing any more, and never will.
func (r *Reservation) Over() bool { return r.Object != nil && r.Workload.is(workloadFinished) }

// MadeFor says that the Workload is what is asked for.
func (r *Reservation) MadeFor(a Asked) bool {
	return r.Object != nil && r.Object.GetAnnotations()[v1alpha1.AnnotationSpecDigest] == a.Mark()
}

// For is what the Workload gives to who asks for this; nil where it was made for something else.
func (r *Reservation) For(a Asked) *Reserved {
	if !r.MadeFor(a) {
		return nil
	}
	return r.Reserved
}

// GivenBack is the Workload of a run whose pods are gone, without its quota: what Kueue does itself for Jobs. What was preempted
// queues again at once; in all other cases Kueue says when.
func (r *Reservation) GivenBack(now metav1.Time) *unstructured.Unstructured {
	evicted := r.Workload.condition(workloadEvicted)
	conditions := slices.Clone(r.Workload.Conditions)
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: now, ObservedGeneration: r.Object.GetGeneration(),
		})
	}
	requeued := metav1.ConditionFalse
	if evicted.Reason == "Preempted" || evicted.Reason == "NodeFailures" {
		requeued = metav1.ConditionTrue
	}
	set(workloadRequeued, requeued, evicted.Reason, evicted.Message)
	set(workloadQuotaReserved, metav1.ConditionFalse, "Pending", evicted.Message)
	if r.Workload.condition(workloadAdmitted) != nil {
		set(workloadAdmitted, metav1.ConditionFalse, "NoReservation", "The workload has no reservation")
	}
	var list []any
	for i := range conditions {
		c, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&conditions[i])
		if err != nil {
			panic(err) // a programming error: a condition that is no JSON
		}
		list = append(list, c)
	}
	given := r.Object.DeepCopy()
	status := given.Object["status"].(map[string]any)
	status["conditions"] = list
	delete(status, "admission")
	return given
}

func (w *Workload) is(kind string) bool {
	return w != nil && meta.IsStatusConditionTrue(w.Conditions, kind)
}
