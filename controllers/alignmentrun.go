package controllers

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/plan"
)

// RunReconciler moves AlignmentRuns on.
type RunReconciler struct{ *Engine }

// Reconcile observes one run and its children, plans, executes and records.
func (r *RunReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var run v1alpha1.AlignmentRun
	if err := r.Client.Get(ctx, req.NamespacedName, &run); err != nil || !run.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	f := family{owner: &run, nested: true, records: map[int32][]v1alpha1.StageStatus{}, look: r.look(run.Status.Progress)}
	for _, it := range run.Status.Iterations {
		f.records[*it.Iteration] = it.Stages
	}
	children, err := r.children(ctx, f)
	if err != nil {
		return ctrl.Result{}, err
	}
	base, err := r.base(ctx, run.Spec.RuntimeRef.Name, children)
	if err != nil {
		return ctrl.Result{}, err
	}
	if base.Missing, err = r.missing(ctx, &run); err != nil {
		return ctrl.Result{}, err
	}
	return carryOut(ctx, r.Engine, subject[v1alpha1.AlignmentRunStatus]{
		object: &run, status: &run.Status, ledger: runLedger,
		announce: func(before, after *v1alpha1.AlignmentRunStatus) { r.announceRun(&run, before, after) },
	}, plan.Run(base, &run))
}

// missing says which ConfigMap that the prompts come from does not exist, until the run is accepted.
func (r *RunReconciler) missing(ctx context.Context, run *v1alpha1.AlignmentRun) (string, error) {
	if run.Status.Runtime != nil {
		return "", nil
	}
	for _, source := range []v1alpha1.PromptSource{run.Spec.Prompts.Train, run.Spec.Prompts.Evaluation} {
		ref := source.ConfigMapRef
		if ref == nil {
			continue
		}
		var config corev1.ConfigMap
		err := r.Live.Get(ctx, client.ObjectKey{Namespace: run.Namespace, Name: ref.Name}, &config)
		if client.IgnoreNotFound(err) != nil {
			return "", err
		}
		// Of a ConfigMap that was not found, neither holds anything.
		_, text := config.Data[ref.Key]
		_, binary := config.BinaryData[ref.Key]
		if !text && !binary {
			return fmt.Sprintf("ConfigMap %q with the key %q does not exist", ref.Name, ref.Key), nil
		}
	}
	return "", nil
}

func runLedger(s *v1alpha1.AlignmentRunStatus) ledger {
	l := ledger{conditions: &s.Conditions, progress: &s.Progress}
	for i := range s.Iterations {
		l.stages = append(l.stages, &s.Iterations[i].Stages)
	}
	return l
}

func (r *RunReconciler) announceRun(run *v1alpha1.AlignmentRun, before, after *v1alpha1.AlignmentRunStatus) {
	for i := range after.Iterations {
		it := &after.Iterations[i]
		if it.Decision != nil && (i >= len(before.Iterations) || before.Iterations[i].Decision == nil) {
			verdict := "rejected"
			if ptr.Deref(it.Decision.Accepted, false) {
				verdict = "accepted"
			}
			r.Events.Eventf(run, nil, corev1.EventTypeNormal, v1alpha1.EventIterationCompleted, "Evaluate",
				"iteration %d %s: %s", ptr.Deref(it.Iteration, 0), verdict, it.Decision.Message)
		}
	}
	r.announce(run, runLedger(before), runLedger(after))
}

// SetupWithManager registers the controller.
func (r *RunReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.AlignmentRun{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&batchv1.Job{}, builder.WithPredicates(jobMoved())).
		Owns(&v1alpha1.ScoringBatch{}, builder.WithPredicates(nestedMoved())).
		Owns(&v1alpha1.PreferenceDataset{}, builder.WithPredicates(nestedMoved())).
		Watches(&v1alpha1.AlignmentRuntime{}, handler.EnqueueRequestsFromMapFunc(r.waitingFor)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers}).
		Complete(r)
}

// waitingFor are the runs that a runtime may set going.
func (r *RunReconciler) waitingFor(ctx context.Context, runtime client.Object) []ctrl.Request {
	var runs v1alpha1.AlignmentRunList
	if err := r.Client.List(ctx, &runs); err != nil {
		return nil
	}
	var requests []ctrl.Request
	for i := range runs.Items {
		if run := &runs.Items[i]; run.Spec.RuntimeRef.Name == runtime.GetName() && run.Status.Runtime == nil {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(run)})
		}
	}
	return requests
}
