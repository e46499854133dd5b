// Package controllers does all Kubernetes I/O: observe, execute, record. What to do is decided in
// internal/plan. It never opens the artifact store and never reads a Secret.
package controllers

import (
	"context"
	"errors"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/metrics"
	"github.com/spatialalign/operator/internal/plan"
)

// Engine is what the controllers of all kinds share.
type Engine struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server, before anything that could not be taken back.
	Live client.Reader
	// Events tells people.
	Events events.EventRecorder
	// Counters tell Prometheus.
	Counters *metrics.Counters
	// Clock of the whole operator.
	Clock clock.PassiveClock
	// Config of all plans.
	Config plan.Config
	// Progress reads what running pods report.
	Progress ProgressReader
	// Kueue tells why queued Jobs wait.
	Kueue *Kueue
	// Workers is the number of objects of a kind that are reconciled at the same time.
	Workers int

	// deferred holds the statuses that were planned and not written: see deferral.
	deferred sync.Map
	// wrote is when this operator last wrote the status of an object, by deferralKey.
	wrote  sync.Map
	effort effort
	rooms  rooms
	delays delays
}

// base observes what every kind's plan needs; what has ended needs no room. done must be called when the plan is carried out: until
// then nobody else takes of the room that it found.
func (e *Engine) base(ctx context.Context, o client.Object, runtime string, children []plan.Child, ended bool) (b plan.Base, done func(), err error) {
	done = func() {}
	leaving, err := e.leaving(ctx, o.GetNamespace(), children)
	if err != nil {
		return b, done, err
	}
	b = plan.Base{Now: metav1.NewTime(e.Clock.Now()), Config: e.Config, Leaving: leaving, Children: children}
	var r v1alpha1.AlignmentRuntime
	switch err = e.Client.Get(ctx, client.ObjectKey{Name: runtime}, &r); {
	case err == nil:
		b.Runtime = &r
	case client.IgnoreNotFound(err) != nil:
		return b, done, err
	}
	if ended {
		return b, done, nil
	}
	if b.Room, done, err = e.room(ctx, o); b.Room != nil {
		b.Line = e.rooms.inLine(o, e.Clock.Now())
	}
	return b, done, err
}

// unplanned is when to look again at an object for whose plan not all was to be had.
func (e *Engine) unplanned(o client.Object, err error) (ctrl.Result, error) {
	if errors.Is(err, errTurn) {
		return e.delays.again(o), nil
	}
	return ctrl.Result{}, err
}

// leaving asks whether the namespace is being deleted, where a child looks as if that held it up.
func (e *Engine) leaving(ctx context.Context, namespace string, children []plan.Child) (bool, error) {
	if !slices.ContainsFunc(children, func(c plan.Child) bool { return c.Outcome.Stranded && !c.Deleting }) {
		return false, nil
	}
	var n corev1.Namespace
	err := e.Live.Get(ctx, client.ObjectKey{Name: namespace}, &n)
	return err == nil && n.DeletionTimestamp != nil, client.IgnoreNotFound(err)
}

// parent is the run above a child object; nil where there is none. A run that is gone is a NotFound error.
func (e *Engine) parent(ctx context.Context, o client.Object) (*plan.Parent, error) {
	owner := metav1.GetControllerOf(o)
	if owner == nil || owner.Kind != "AlignmentRun" {
		return nil, nil
	}
	key := client.ObjectKey{Namespace: o.GetNamespace(), Name: owner.Name}
	var run v1alpha1.AlignmentRun
	err := e.Client.Get(ctx, key, &run)
	if err == nil && (run.UID != owner.UID || run.Status.Runtime == nil) {
		// A run records its snapshot before it creates a child: the cache is behind.
		err = e.Live.Get(ctx, key, &run)
	}
	if err != nil {
		return nil, err
	}
	if run.UID != owner.UID {
		return nil, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("alignmentruns").GroupResource(), owner.Name) // another of the name
	}
	parent := &plan.Parent{
		Name: run.Name, Runtime: run.Status.Runtime, Scheduling: run.Spec.Scheduling, StartupDeadlineSeconds: run.Spec.StartupDeadlineSeconds,
	}
	if _, tracks := o.(*v1alpha1.ScoringBatch); !tracks || !plan.Reserves(run.Spec.Scheduling) {
		return parent, nil
	}
	reservation, err := e.reservation(ctx, &run)
	if err == nil {
		parent.Reserved = reservation.For(jobs.Asked{Scheduling: run.Spec.Scheduling})
	}
	return parent, err
}
