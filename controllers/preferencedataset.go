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
	"github.com/spatialalign/operator/internal/plan"
)

// DatasetReconciler moves PreferenceDatasets on.
type DatasetReconciler struct{ *Engine }

// Reconcile observes one dataset, its sources and its Job, plans, executes and records.
func (r *DatasetReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var dataset v1alpha1.PreferenceDataset
	if err := r.Client.Get(ctx, req.NamespacedName, &dataset); err != nil || !dataset.DeletionTimestamp.IsZero() {
		dataset.Namespace, dataset.Name = req.Namespace, req.Name
		bury(r.Engine, &dataset)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	recorded, urgent := recall(r.Engine, &dataset, &dataset.Status)
	parent, err := r.parent(ctx, &dataset)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	sources, err := r.sources(ctx, &dataset)
	if err != nil {
		return ctrl.Result{}, err
	}
	children, err := r.children(ctx, family{owner: &dataset, records: map[int32][]v1alpha1.StageStatus{0: dataset.Status.Stages}})
	if err != nil {
		return ctrl.Result{}, err
	}
	base, done, err := r.base(ctx, &dataset, dataset.Spec.RuntimeRef.Name, children, plan.Ended(dataset.Status.Conditions))
	defer done()
	if err != nil {
		return r.unplanned(&dataset, err)
	}
	return carryOut(ctx, r.Engine, subject[v1alpha1.PreferenceDatasetStatus]{
		object: &dataset, runtime: dataset.Spec.RuntimeRef.Name, status: &dataset.Status, recorded: recorded, urgent: urgent, done: done, ledger: datasetLedger,
		announce: func(before, after *v1alpha1.PreferenceDatasetStatus) {
			r.announce(&dataset, datasetLedger(before), datasetLedger(after))
		},
	}, plan.PreferenceDataset(base, &dataset, parent, sources))
}

// sources are the ScoringBatches that a dataset names, as far as they exist.
func (r *DatasetReconciler) sources(ctx context.Context, d *v1alpha1.PreferenceDataset) (map[string]*v1alpha1.ScoringBatch, error) {
	found := make(map[string]*v1alpha1.ScoringBatch, len(d.Spec.Sources))
	for _, s := range d.Spec.Sources {
		if s.ScoringBatch == "" {
			continue
		}
		var batch v1alpha1.ScoringBatch
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: s.ScoringBatch}, &batch)
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		if err == nil {
			found[s.ScoringBatch] = &batch
		}
	}
	return found, nil
}

func datasetLedger(s *v1alpha1.PreferenceDatasetStatus) ledger {
	return ledger{conditions: &s.Conditions, stages: map[int32]*[]v1alpha1.StageStatus{0: &s.Stages}, accepted: s.Runtime != nil}
}

// SetupWithManager registers the controller.
func (r *DatasetReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.PreferenceDataset{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&batchv1.Job{}, builder.WithPredicates(jobMoved())).
		Watches(&v1alpha1.AlignmentRuntime{}, r.whoNames(&v1alpha1.PreferenceDatasetList{})).
		Watches(&v1alpha1.ScoringBatch{}, r.whoNames(&v1alpha1.PreferenceDatasetList{})).
		Watches(&corev1.ResourceQuota{}, r.wantingRoom(&v1alpha1.PreferenceDataset{})).
		Watches(&corev1.LimitRange{}, r.wantingRoom(&v1alpha1.PreferenceDataset{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers}).
		Complete(r)
}
