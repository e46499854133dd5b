package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// reservation observes what a run has of a queue as a whole; nil where it asks for nothing and has nothing. All is read from the API
// server: by this pods are deleted, which a cache that is behind must not do.
func (e *Engine) reservation(ctx context.Context, run *v1alpha1.AlignmentRun) (*jobs.Reservation, error) {
	if !plan.Reserves(run.Spec.Scheduling) && !e.Kueue.holds(run) {
		return nil, nil
	}
	queue, version := e.Kueue.served()
	r := &jobs.Reservation{Queue: queue, Version: version}
	if queue.Absent || queue.Trouble != "" {
		return r, nil
	}
	err := e.lookUp(ctx, run, r)
	if unserved(err) {
		e.Kueue.unserved(version)
	}
	if unserved(err) || apierrors.IsForbidden(err) {
		*r, err = jobs.Reservation{Queue: jobs.Queue{Trouble: err.Error()}, Version: version}, nil
	}
	return r, err
}

// unserved says that the API server does not know what was asked for as a kind: it tells nothing about whether the object exists.
func unserved(err error) bool {
	return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

func (e *Engine) lookUp(ctx context.Context, run *v1alpha1.AlignmentRun, r *jobs.Reservation) error {
	workload, err := e.ofKueue(ctx, "Workload", r.Version, client.ObjectKey{Namespace: run.Namespace, Name: jobs.ReservationName(run.Name, run.UID)})
	if err != nil {
		return err
	}
	r.Known = true
	exists := workload != nil && metav1.IsControlledBy(workload, run)
	if exists {
		err = e.seen(ctx, workload, r)
	}
	if err == nil {
		err = e.takenIn(ctx, run, r)
	}
	if err != nil || exists || r.Problem != "" {
		return err
	}
	return e.priority(ctx, run.Spec.Scheduling, r)
}

// seen reads the run's Workload, and the flavours that it was admitted to.
func (e *Engine) seen(ctx context.Context, workload *unstructured.Unstructured, r *jobs.Reservation) error {
	for _, name := range r.See(workload) {
		flavour, err := e.ofKueue(ctx, "ResourceFlavor", r.Version, client.ObjectKey{Name: name})
		if err != nil {
			return err
		}
		if flavour == nil {
			return fmt.Errorf("ResourceFlavor %q of Workload %s does not exist", name, workload.GetName())
		}
		var spec struct {
			NodeLabels  map[string]string   `json:"nodeLabels,omitempty"`
			Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
		}
		fields, _, _ := unstructured.NestedMap(flavour.Object, "spec")
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &spec); err != nil {
			return fmt.Errorf("ResourceFlavor %q: %w", name, err)
		}
		r.Reserved.On(spec.NodeLabels, spec.Tolerations)
	}
	return nil
}

// takenIn tells whether Kueue would put the run's Jobs into a queue of its own choice, which would count them a second time.
func (e *Engine) takenIn(ctx context.Context, run *v1alpha1.AlignmentRun, r *jobs.Reservation) error {
	queue, err := e.ofKueue(ctx, "LocalQueue", r.Version, client.ObjectKey{Namespace: run.Namespace, Name: "default"})
	if err != nil || queue == nil {
		return err
	}
	r.Problem = "Kueue puts every Job of this namespace that has no queue into LocalQueue default, also those that run under a reservation. " +
		"Give that queue another name, or suspend the run and set spec.scheduling.reservation to Stage"
	return nil
}

// priority that a new Workload is to have.
func (e *Engine) priority(ctx context.Context, s *v1alpha1.SchedulingSpec, r *jobs.Reservation) error {
	if s == nil || s.WorkloadPriorityClassName == "" {
		return nil
	}
	class, err := e.ofKueue(ctx, "WorkloadPriorityClass", r.Version, client.ObjectKey{Name: s.WorkloadPriorityClassName})
	if err != nil {
		return err
	}
	if class == nil {
		r.Problem = fmt.Sprintf("WorkloadPriorityClass %q does not exist", s.WorkloadPriorityClassName)
		return nil
	}
	value, _, err := unstructured.NestedInt64(class.Object, "value")
	r.Priority = ptr.To(int32(value))
	return err
}

// ofKueue reads an object of Kueue's; nil where there is none.
func (e *Engine) ofKueue(ctx context.Context, kind, version string, key client.ObjectKey) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(jobs.KueueGroup + "/" + version)
	u.SetKind(kind)
	switch err := e.Live.Get(ctx, key, u); {
	case err == nil:
		return u, nil
	case unserved(err):
		return nil, err
	default:
		return nil, client.IgnoreNotFound(err)
	}
}

// giveBack writes the status of a Workload whose pods are gone. Somebody who was faster is right.
func (e *Engine) giveBack(ctx context.Context, o plan.Object) error {
	if o == nil {
		return nil
	}
	if err := e.Client.Status().Update(ctx, o); client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("give back the quota of Workload %s: %w", o.GetName(), err)
	}
	return nil
}

// served tells whether Kueue is there, and by what version of its API.
func (k *Kueue) served() (q jobs.Queue, version string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	q = k.there()
	if k.version == "" && !q.Absent && q.Trouble == "" {
		q.Trouble = "the API server has not said yet whether Kueue is installed"
	}
	return q, k.version
}

// holds says that a run has a Workload, whatever it asks for.
func (k *Kueue) holds(run *v1alpha1.AlignmentRun) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reserved[run.UID]
}

// ofRun keeps that there is a Workload of a whole run, or is no more, and wakes the run, which looks at it itself.
func (k *Kueue) ofRun(u *unstructured.Unstructured, owner *metav1.OwnerReference, exists bool) {
	k.mu.Lock()
	k.trouble = nil
	if exists {
		k.reserved[owner.UID] = true
	} else {
		delete(k.reserved, owner.UID)
	}
	k.mu.Unlock()
	k.wake(&v1alpha1.AlignmentRun{ObjectMeta: metav1.ObjectMeta{Namespace: u.GetNamespace(), Name: owner.Name}})
}
