package controllers

import (
	"context"
	"slices"

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
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// RunReconciler moves AlignmentRuns on.
type RunReconciler struct{ *Engine }

// Reconcile observes one run and its children, plans, executes and records.
func (r *RunReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var run v1alpha1.AlignmentRun
	if err := r.Client.Get(ctx, req.NamespacedName, &run); err != nil || !run.DeletionTimestamp.IsZero() {
		run.Namespace, run.Name = req.Namespace, req.Name
		bury(r.Engine, &run)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	recorded, urgent := recall(r.Engine, &run, &run.Status)
	f := family{owner: &run, nested: true, records: map[int32][]v1alpha1.StageStatus{}, look: r.look(run.Status.Progress)}
	for _, it := range run.Status.Iterations {
		f.records[*it.Iteration] = it.Stages
	}
	if run.Status.Runtime != nil {
		f.gpus = jobs.CountedBy(&run.Status.Runtime.Spec)
	}
	children, err := r.children(ctx, f)
	if err != nil {
		return ctrl.Result{}, err
	}
	missing, err := r.missing(ctx, &run)
	if err != nil {
		return ctrl.Result{}, err
	}
	related, err := r.related(ctx, &run)
	if err != nil {
		return ctrl.Result{}, err
	}
	if related.Reservation, err = r.reservation(ctx, &run); err != nil {
		return ctrl.Result{}, err
	}
	// Last: others come again later while this object has its turn at the namespace's room.
	base, done, err := r.base(ctx, &run, run.Spec.RuntimeRef.Name, children, plan.Ended(run.Status.Conditions) && !plan.Writing(&run.Status))
	defer done()
	if err != nil {
		return r.unplanned(&run, err)
	}
	base.Missing = missing
	return carryOut(ctx, r.Engine, subject[v1alpha1.AlignmentRunStatus]{
		object: &run, runtime: run.Spec.RuntimeRef.Name, status: &run.Status, recorded: recorded, urgent: urgent, done: done, ledger: runLedger,
		announce: func(before, after *v1alpha1.AlignmentRunStatus) { r.announceRun(&run, before, after) },
	}, plan.Run(base, &run, related))
}

func runLedger(s *v1alpha1.AlignmentRunStatus) ledger {
	l := ledger{conditions: &s.Conditions, progress: &s.Progress, stages: map[int32]*[]v1alpha1.StageStatus{}, accepted: s.Runtime != nil}
	for i := range s.Iterations {
		l.stages[*s.Iterations[i].Iteration] = &s.Iterations[i].Stages
	}
	return l
}

func (r *RunReconciler) announceRun(run *v1alpha1.AlignmentRun, before, after *v1alpha1.AlignmentRunStatus) {
	known := map[int32]*v1alpha1.IterationStatus{}
	for i := range before.Iterations {
		known[*before.Iterations[i].Iteration] = &before.Iterations[i]
	}
	for i := range after.Iterations {
		it := &after.Iterations[i]
		was := known[*it.Iteration]
		if was == nil {
			was = &v1alpha1.IterationStatus{}
		}
		if it.Decision != nil && was.Decision == nil {
			verdict := "rejected"
			if ptr.Deref(it.Decision.Accepted, false) {
				verdict = "accepted"
			}
			r.Events.Eventf(run, nil, corev1.EventTypeNormal, v1alpha1.EventIterationCompleted, "Evaluate",
				"iteration %d %s: %s", ptr.Deref(it.Iteration, 0), verdict, short(it.Decision.Message))
		}
		if resampling(it) && !resampling(was) {
			r.Events.Eventf(run, nil, corev1.EventTypeNormal, v1alpha1.EventResampling, "Sample", "iteration %d has too few pairs and samples another round", *it.Iteration)
		}
	}
	if p := after.PendingApproval; p != nil && before.PendingApproval == nil {
		r.Events.Eventf(run, nil, corev1.EventTypeNormal, v1alpha1.ReasonApprovalRequested, string(p.Gate),
			"iteration %d waits after %s for an AlignmentApproval of %s", p.Iteration, p.Gate, p.Digest)
	}
	r.announce(run, runLedger(before), runLedger(after))
}

// resampling says that an iteration has a round after its first.
func resampling(it *v1alpha1.IterationStatus) bool {
	return slices.ContainsFunc(it.Stages, func(rec v1alpha1.StageStatus) bool { return ptr.Deref(rec.Round, 0) > 0 })
}

// SetupWithManager registers the controller.
func (r *RunReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.AlignmentRun{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&batchv1.Job{}, builder.WithPredicates(jobMoved())).
		Owns(&v1alpha1.ScoringBatch{}, builder.WithPredicates(nestedMoved())).
		Owns(&v1alpha1.PreferenceDataset{}, builder.WithPredicates(nestedMoved())).
		Watches(&v1alpha1.AlignmentRuntime{}, r.whoNames(&v1alpha1.AlignmentRunList{})).
		Watches(&v1alpha1.AlignmentApproval{}, handler.EnqueueRequestsFromMapFunc(approvedRun), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.PreferenceDataset{}, r.whoNames(&v1alpha1.AlignmentRunList{}), builder.WithPredicates(nestedMoved())).
		Watches(&corev1.ResourceQuota{}, r.wantingRoom(&v1alpha1.AlignmentRun{})).
		Watches(&corev1.LimitRange{}, r.wantingRoom(&v1alpha1.AlignmentRun{})).
		WatchesRawSource(r.Kueue.moves(r.jobOwner("AlignmentRun"))).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers}).
		Complete(r)
}
