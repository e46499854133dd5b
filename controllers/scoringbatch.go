package controllers

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
	"github.com/spatialalign/operator/internal/plan"
)

// BatchReconciler moves ScoringBatches on.
type BatchReconciler struct{ *Engine }

// Reconcile observes one batch and its Jobs, plans, executes and records.
func (r *BatchReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var batch v1alpha1.ScoringBatch
	if err := r.Client.Get(ctx, req.NamespacedName, &batch); err != nil || !batch.DeletionTimestamp.IsZero() {
		batch.Namespace, batch.Name = req.Namespace, req.Name
		bury(r.Engine, &batch)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	recorded, urgent := recall(r.Engine, &batch, &batch.Status)
	parent, err := r.parent(ctx, &batch)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	f := family{owner: &batch, records: map[int32][]v1alpha1.StageStatus{0: batch.Status.Stages}, look: r.look(batch.Status.Progress)}
	taken := batch.Status.Runtime
	if taken == nil && parent != nil {
		taken = parent.Runtime // the batch's own record of it may have been lost
	}
	if taken != nil {
		f.gpus = jobs.CountedBy(&taken.Spec)
	}
	children, err := r.children(ctx, f)
	if err != nil {
		return ctrl.Result{}, err
	}
	base, done, err := r.base(ctx, &batch, batch.Spec.RuntimeRef.Name, children, plan.Ended(batch.Status.Conditions))
	defer done()
	if err != nil {
		return r.unplanned(&batch, err)
	}
	return carryOut(ctx, r.Engine, subject[v1alpha1.ScoringBatchStatus]{
		object: &batch, runtime: batch.Spec.RuntimeRef.Name, status: &batch.Status, recorded: recorded, urgent: urgent, done: done, ledger: batchLedger,
		announce: func(before, after *v1alpha1.ScoringBatchStatus) {
			r.announce(&batch, batchLedger(before), batchLedger(after))
		},
	}, plan.ScoringBatch(base, &batch, parent))
}

func batchLedger(s *v1alpha1.ScoringBatchStatus) ledger {
	return ledger{conditions: &s.Conditions, stages: map[int32]*[]v1alpha1.StageStatus{0: &s.Stages}, progress: &s.Progress, accepted: s.Runtime != nil}
}

// SetupWithManager registers the controller.
func (r *BatchReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.ScoringBatch{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&batchv1.Job{}, builder.WithPredicates(jobMoved())).
		Watches(&v1alpha1.AlignmentRuntime{}, r.whoNames(&v1alpha1.ScoringBatchList{})).
		Watches(&corev1.ResourceQuota{}, r.wantingRoom(&v1alpha1.ScoringBatch{})).
		Watches(&corev1.LimitRange{}, r.wantingRoom(&v1alpha1.ScoringBatch{})).
		WatchesRawSource(r.Kueue.moves(r.jobOwner("ScoringBatch"))).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers}).
		Complete(r)
}
