package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/plan"
)

// namingIndex finds the objects that have not ended by the objects that their specs name and that may set them going.
const namingIndex = "names"

// indexNames fills the naming index.
func indexNames(ctx context.Context, mgr ctrl.Manager) error {
	for _, o := range []client.Object{&v1alpha1.AlignmentRun{}, &v1alpha1.ScoringBatch{}, &v1alpha1.PreferenceDataset{}} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, o, namingIndex, named); err != nil {
			return fmt.Errorf("index what %T names: %w", o, err)
		}
	}
	return nil
}

// named is what an object names, by kind and name.
func named(o client.Object) []string {
	var names []string
	switch o := o.(type) {
	case *v1alpha1.AlignmentRun:
		if plan.Ended(o.Status.Conditions) {
			return nil
		}
		names = append(names, naming("AlignmentRuntime", o.Spec.RuntimeRef.Name))
		if o.Spec.InitialDataset != nil && o.Status.Runtime == nil { // later it has what it takes from there
			names = append(names, naming("PreferenceDataset", o.Spec.InitialDataset.Name))
		}
	case *v1alpha1.ScoringBatch:
		if plan.Ended(o.Status.Conditions) {
			return nil
		}
		names = append(names, naming("AlignmentRuntime", o.Spec.RuntimeRef.Name))
	case *v1alpha1.PreferenceDataset:
		if plan.Ended(o.Status.Conditions) {
			return nil
		}
		names = append(names, naming("AlignmentRuntime", o.Spec.RuntimeRef.Name))
		for _, s := range o.Spec.Sources {
			if s.ScoringBatch != "" {
				names = append(names, naming("ScoringBatch", s.ScoringBatch))
			}
		}
	}
	return names
}

func naming(kind, name string) string { return kind + "/" + name }

// whoNames enqueues the objects of a kind that name what changed, in its namespace if it is in one.
func (e *Engine) whoNames(kind client.ObjectList) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, changed client.Object) []ctrl.Request {
		list := kind.DeepCopyObject().(client.ObjectList)
		err := e.Client.List(ctx, list, client.InNamespace(changed.GetNamespace()),
			client.MatchingFields{namingIndex: naming(kindOf(changed), changed.GetName())}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return nil
		}
		var requests []ctrl.Request
		_ = meta.EachListItem(list, func(o runtime.Object) error {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(o.(client.Object))})
			return nil
		})
		return requests
	})
}
