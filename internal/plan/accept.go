package plan

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/spatialalign/operator/api/v1alpha1"
	"github.com/spatialalign/operator/internal/jobs"
)

// accept takes the snapshot of the runtime that an object goes by from then on, or says what it waits for.
func accept(b Base, name, namespace string) (*v1alpha1.RuntimeSnapshot, *failure) {
	r := b.Runtime
	if r == nil {
		return nil, &failure{v1alpha1.ReasonRuntimeNotFound, fmt.Sprintf("AlignmentRuntime %q does not exist; waiting for it", name)}
	}
	if f := notAllowed(r, namespace); f != nil {
		return nil, f
	}
	if b.Missing != "" {
		return nil, &failure{v1alpha1.ReasonPromptsNotFound, b.Missing + "; waiting for it"}
	}
	spec := *r.Spec.DeepCopy()
	spec.AllowedNamespaces, spec.Limits = nil, nil // those count as they are, see policy.go
	generation := r.Generation
	return &v1alpha1.RuntimeSnapshot{Generation: &generation, Spec: spec}, nil
}

// accept takes what the run goes by from then on: the runtime, with its own store if it names one, the dataset that it
// trains on first, and what it takes over from another run. Otherwise it says what it waits for, or what is wrong.
func (r *runPlan) accept() (waiting, wrong *failure) {
	snapshot, waiting := accept(r.Base, r.run.Spec.RuntimeRef.Name, r.run.Namespace)
	if waiting != nil {
		return waiting, nil
	}
	if tooMuch := exceeds(&r.run.Spec, r.Runtime, &snapshot.Spec); tooMuch != nil {
		return tooMuch, nil
	}
	if r.run.Spec.Store != nil {
		snapshot.Spec.Store = *r.run.Spec.Store
	}
	if t := r.run.Spec.Training; t != nil && t.GPUsPerNode > 0 && jobs.ClaimsGPUs(&snapshot.Spec.Train) {
		return nil, &failure{v1alpha1.ReasonInvalidSpec, fmt.Sprintf("training.gpusPerNode must be left out: the training of AlignmentRuntime %q "+
			"gets its GPUs by ResourceClaims", r.run.Spec.RuntimeRef.Name)}
	}
	if ref := r.run.Spec.InitialDataset; ref != nil {
		d := r.Dataset
		switch {
		case d == nil:
			return &failure{v1alpha1.ReasonDatasetNotReady, fmt.Sprintf("PreferenceDataset %q does not exist; waiting for it", ref.Name)}, nil
		case meta.IsStatusConditionTrue(d.Status.Conditions, v1alpha1.ConditionFailed):
			return &failure{v1alpha1.ReasonDatasetNotReady, fmt.Sprintf("PreferenceDataset %q has failed; create it again under this name", ref.Name)}, nil
		case d.Status.Summary == nil:
			return &failure{v1alpha1.ReasonDatasetNotReady, fmt.Sprintf("PreferenceDataset %q is not complete; waiting for it", ref.Name)}, nil
		}
		r.status.InitialDataset = d.Status.Summary.DeepCopy()
	}
	if waiting, wrong = r.takeOver(snapshot); waiting != nil || wrong != nil {
		return waiting, wrong
	}
	r.status.Runtime, r.status.StartTime = snapshot, &r.Now
	return nil, nil
}
