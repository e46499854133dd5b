package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/plan"
)

// approvalIndex finds AlignmentApprovals by the UID of the run that they answer.
const approvalIndex = "run-uid"

// related observes the objects beside its children that a run's plan looks at.
func (r *RunReconciler) related(ctx context.Context, run *v1alpha1.AlignmentRun) (plan.Related, error) {
	var related plan.Related
	if run.Status.Runtime == nil {
		if ref := run.Spec.InitialDataset; ref != nil {
			var dataset v1alpha1.PreferenceDataset
			found, err := r.find(ctx, run.Namespace, ref.Name, &dataset)
			if err != nil {
				return related, err
			}
			if found {
				related.Dataset = &dataset
			}
		}
	}
	if ref := run.Spec.Rerun; ref != nil && (!plan.Ended(run.Status.Conditions) || plan.Writing(&run.Status)) {
		var from v1alpha1.AlignmentRun
		found, err := r.find(ctx, run.Namespace, ref.RunName, &from)
		if err != nil {
			return related, err
		}
		if found {
			related.Rerun = &from
		}
	}
	if run.Spec.Approval == nil {
		return related, nil
	}
	var approvals v1alpha1.AlignmentApprovalList
	if err := r.Client.List(ctx, &approvals, client.InNamespace(run.Namespace), client.MatchingFields{approvalIndex: string(run.UID)}); err != nil {
		return related, err
	}
	related.Approvals = approvals.Items
	slices.SortFunc(related.Approvals, func(a, b v1alpha1.AlignmentApproval) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return related, nil
}

func (r *RunReconciler) find(ctx context.Context, namespace, name string, o client.Object) (bool, error) {
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
	return err == nil, client.IgnoreNotFound(err)
}

// missing says which ConfigMap that the prompts come from does not exist, until the run is accepted.
func (r *RunReconciler) missing(ctx context.Context, run *v1alpha1.AlignmentRun) (string, error) {
	if run.Status.Runtime != nil {
		return "", nil
	}
	sources := []v1alpha1.PromptSource{run.Spec.Prompts.Train, run.Spec.Prompts.Evaluation}
	if run.Spec.Prompts.Test != nil {
		sources = append(sources, *run.Spec.Prompts.Test)
	}
	for _, source := range sources {
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
		if apierrors.IsNotFound(err) || !text && !binary {
			return fmt.Sprintf("ConfigMap %q with the key %q does not exist", ref.Name, ref.Key), nil
		}
	}
	return "", nil
}

// approvedRun is the run that an approval answers.
func approvedRun(_ context.Context, o client.Object) []ctrl.Request {
	approval, ok := o.(*v1alpha1.AlignmentApproval)
	if !ok {
		return nil
	}
	return []ctrl.Request{{NamespacedName: client.ObjectKey{Namespace: approval.Namespace, Name: approval.Spec.RunName}}}
}
